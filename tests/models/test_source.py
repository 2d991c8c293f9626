from __future__ import annotations

import sys

import pytest
import safetensors.torch
import torch
from torch import nn

from medadv.models.checkpoint import UntrustedFile
from medadv.models.source import SourceError, load_model

PROGRAM = """
from dataclasses import dataclass
from torch import nn
import neighbour_of_the_model

@dataclass
class Settings:
    classes: int = neighbour_of_the_model.CLASSES

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, Settings().classes))

def make_eval():
    return make().eval()

def with_default(classes=3):
    return nn.Linear(4, classes)

def with_argument(classes):
    return nn.Linear(4, classes)

def with_keyword(*, classes):
    return nn.Linear(4, classes)

def fails():
    raise RuntimeError("no such thing\\nsecond line")

def gives_a_string():
    return "model"

number = 7
Network = nn.Identity
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "neighbour_of_the_model.py").write_text("CLASSES = 2")
    path = tmp_path / "my model.py"
    path.write_text(PROGRAM)
    yield path
    sys.modules.pop("neighbour_of_the_model", None)


def test_a_function_in_a_file_with_a_neighbour(file) -> None:
    path = list(sys.path)
    model = load_model(f"{file}:make")
    assert isinstance(model, nn.Sequential)
    assert model[1].out_features == 2
    assert sys.path == path


def test_the_mode_is_left_to_the_function(file) -> None:
    assert load_model(f"{file}:make").training
    assert not load_model(f"{file}:make_eval").training


def test_defaults_and_classes_count_as_functions(file) -> None:
    assert load_model(f"{file}:with_default").out_features == 3
    assert isinstance(load_model(f"{file}:Network"), nn.Identity)


def test_a_module_of_the_working_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "models_of_mine.py").write_text("from torch import nn\ndef make():\n    return nn.Identity()\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(load_model("models_of_mine:make"), nn.Identity)
    sys.modules.pop("models_of_mine")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent", "there is no function 'absent' in it"),
        ("number", "there is no function 'number' in it"),
        ("with_argument", "with_argument must need no arguments"),
        ("with_keyword", "with_keyword must need no arguments"),
        ("fails", r"fails\(\) failed \(RuntimeError: no such thing\)"),
        ("gives_a_string", r"gives_a_string\(\) must return a torch.nn.Module, got str"),
    ],
)
def test_functions_that_give_no_model(file, name, sentence) -> None:
    with pytest.raises(SourceError, match=sentence) as caught:
        load_model(f"{file}:{name}")
    assert "my model.py" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("model.py", "'package.module:function' or 'file.py:function' expected"),
        ("torch.nn:", "'package.module:function' or 'file.py:function' expected"),
        (":make", "'package.module:function' or 'file.py:function' expected"),
        ("absent.py:make", "no file absent.py"),
        ("no_such_package.models:make", r"the import failed \(ModuleNotFoundError: No module named 'no_such_package'"),
        ("..models:make", "the import failed"),
    ],
)
def test_sources_that_do_not_exist(source, sentence) -> None:
    with pytest.raises(SourceError, match=sentence):
        load_model(source)


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import surely_absent", "ModuleNotFoundError: No module named 'surely_absent'"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_files_that_cannot_be_imported(tmp_path, program, sentence) -> None:
    (tmp_path / "model.py").write_text(program)
    with pytest.raises(SourceError, match=rf"the import failed \({sentence}"):
        load_model(f"{tmp_path / 'model.py'}:make")


def trained(tmp_path, change=None):
    torch.manual_seed(1)
    weights = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).state_dict()
    if change is not None:
        change(weights)
    safetensors.torch.save_file(weights, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors", weights


def test_weights_are_loaded(file, tmp_path) -> None:
    path, weights = trained(tmp_path)
    model = load_model(f"{file}:make", path)
    assert torch.equal(model[1].weight, weights["1.weight"])
    assert torch.equal(model[1].bias, weights["1.bias"])
    assert model[1].weight.requires_grad


def test_half_precision_weights_widen_and_double_do_not_narrow(file, tmp_path) -> None:
    path, weights = trained(tmp_path, lambda w: w.update({name: value.half() for name, value in w.items()}))
    model = load_model(f"{file}:make", path)
    assert model[1].weight.dtype == torch.float32
    assert torch.equal(model[1].weight, weights["1.weight"].float())
    path, _ = trained(tmp_path, lambda w: w.update({name: value.double() for name, value in w.items()}))
    with pytest.raises(SourceError, match=r"1\.(bias|weight) is torch.float64, which does not fit into torch.float32"):
        load_model(f"{file}:make", path)
    path, _ = trained(tmp_path, lambda w: w.update({"1.bias": w["1.bias"].to(torch.float8_e4m3fn)}))
    with pytest.raises(SourceError, match="float8_e4m3fn, which does not fit"):
        load_model(f"{file}:make", path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w: w.pop("1.bias"), r"1 tensors are missing \(1\.bias\) and 0 are not part of the model"),
        (lambda w: w.update(extra=torch.zeros(1)), r"0 tensors are missing and 1 are not part of the model \(extra\)"),
        (
            lambda w: w.update({f"module.{name}": w.pop(name) for name in list(w)}),
            r"2 tensors are missing \(1\.bias, 1\.weight\) and 2 are not part .* \(module\.1\.bias, .*DataParallel's",
        ),
        (
            lambda w: w.update({"1.weight": torch.zeros(2, 5)}),
            r"1\.weight has shape \[2, 5\], the model expects \[2, 4\]",
        ),
    ],
)
def test_weights_that_do_not_fit(file, tmp_path, change, sentence) -> None:
    path, _ = trained(tmp_path, change)
    with pytest.raises(SourceError, match=sentence) as caught:
        load_model(f"{file}:make", path)
    assert "weights.safetensors" in str(caught.value)


def test_untrusted_weights_stay_untrusted(file, tmp_path) -> None:
    torch.save(nn.Linear(4, 2), tmp_path / "weights.pt")
    with pytest.raises(UntrustedFile):
        load_model(f"{file}:make", tmp_path / "weights.pt")
