from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from medadv.data import DataError, chest_phantoms, read_images
from medadv.models.source import load_model

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "train_chest_xray.py"


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


example = imported(EXAMPLE)
exporter = imported(Path(__file__).with_name("export_chest_xray.py"))


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on a busy machine wait for each other; one is quicker there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_phantoms(folder: Path, first: int, count: int) -> None:
    films = chest_phantoms(first + count, size=32, seed=0)
    for index in range(first, first + count):
        path = folder / films.class_names[films.labels[index]] / f"patient{index}_0.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((films.images[index, 0] * 255).astype(np.uint8)).save(path)


def test_it_trains_measures_and_saves_weights_that_load(tmp_path, capsys) -> None:
    write_phantoms(tmp_path / "train", 0, 48)
    write_phantoms(tmp_path / "test", 48, 16)
    weights = tmp_path / "weights.safetensors"
    folders = ["--data", str(tmp_path / "train"), "--held-out", str(tmp_path / "test")]
    accuracy = example.main([*folders, "--out", str(weights), "--size", "24", "--epochs", "2"])
    printed = capsys.readouterr().out
    assert f"held-out accuracy {accuracy:.3f} on 16 images of 16 patients (clear" in printed
    model = load_model(f"{EXAMPLE}:chest_xray_network", weights)
    assert not model.training
    images = read_images(tmp_path / "test", size=(24, 24), channels=1)
    with torch.inference_mode():
        predicted = model(torch.from_numpy(images.images)).argmax(1).numpy()
    assert (predicted == images.labels).mean() == accuracy


def test_a_patient_in_both_folders_is_refused(tmp_path) -> None:
    write_phantoms(tmp_path / "train", 0, 4)
    write_phantoms(tmp_path / "test", 3, 4)
    folders = ["--data", str(tmp_path / "train"), "--held-out", str(tmp_path / "test")]
    with pytest.raises(DataError, match="1 patients are in both folders, 'patient3' for one"):
        example.main([*folders, "--out", str(tmp_path / "weights.safetensors")])
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.skipif(not exporter.pack().is_file(), reason="no chest X-ray pack (MEDADV_DATA)")
def test_real_films_are_learnt_from_few_epochs(tmp_path) -> None:
    exporter.export(tmp_path)
    for part in ("train", "test"):
        assert {path.name for path in (tmp_path / part).iterdir()} == {"normal", "pneumonia"}
    folders = ["--data", str(tmp_path / "train"), "--held-out", str(tmp_path / "test")]
    out = ["--out", str(tmp_path / "weights.safetensors"), "--size", "48", "--epochs", "5"]
    assert example.main([*folders, *out]) > 0.85
