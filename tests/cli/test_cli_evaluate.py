"""`medadv evaluate` as a user meets it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from safetensors.torch import save_file

import medadv.cli.main
from medadv.sweep import Store

ROOT = Path(__file__).resolve().parents[2]


def everything(folder="."):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if "__pycache__" not in path.parts)


def program(*arguments, **options):
    """The real program in a process of its own."""
    # Tests that run in the background of a shell ignore Ctrl-C, and so would what they start.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; import sys; from medadv.cli.main import main; main(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


# What works


def test_a_folder_becomes_a_store_and_a_report(place):
    result = place.evaluate("--attack", "pgd", "--attack", "bias-field", "--steps", 3, "--budget", "pgd=8/255,1/255")
    assert result.exit_code == 0, result.output
    store = Store.open("out")
    budgets = {entry["name"]: entry["budgets"] for entry in store.plan["attacks"]}
    assert budgets == {"pgd": [1 / 255, 8 / 255], "bias-field": [1.1, 1.2, 1.3, 1.5]}
    assert store.plan["data"]["class_names"] == ["left", "right"]
    assert store.plan["model"]["source"] == "models.py:good"
    assert store.done() == set(store.plan["units"])
    assert "<html" in Path("out/report.html").read_text()
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["attack", "budget", "accuracy", "95", "%", "interval"]
    assert lines[1].split()[:3] == ["none", "100.0", "%"]
    assert sum(line.startswith("PGD") for line in lines) == 2
    assert sum(line.startswith("Bias field") for line in lines) == 4
    assert lines[-1] == "Report: out/report.html"
    assert "talks" not in result.stdout
    assert "made by a function that talks" in result.stderr


def test_json_is_one_object_with_the_numbers_of_the_store(place):
    result = place.evaluate("--json", "--budget", "0.01,1/25")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["report"] == "out/report.html"
    assert [(entry["attack"], entry["budget"]) for entry in told["attacks"]] == [("pgd", 0.01), ("pgd", 0.04)]
    rows = Store.open("out").query(
        "SELECT budget, count_if(status = 'failed') AS robust FROM rows JOIN units USING (unit) GROUP BY ALL "
        "ORDER BY budget",
        kind="attack",
    )
    assert [entry["count"] for entry in told["attacks"]] == rows["robust"].tolist()
    assert told["clean_accuracy"]["accuracy"] == 1.0
    assert len(told["checks"]) == 20


def test_options_reach_the_attack_and_the_data(place):
    options = ["--steps", 3, "--restarts", 2, "--seed", 7, "--limit", 6, "--size", 8, 8, "--channels", 3]
    result = place.evaluate("--attack", "pgd", *options)
    assert result.exit_code == 0, result.output
    plan = Store.open("out").plan
    configuration = plan["attacks"][0]["configuration"]
    assert (configuration["steps"], configuration["restarts"], configuration["seed"]) == (3, 2, 7)
    assert plan["data"]["shape"] == [3, 8, 8]
    assert plan["data"]["count"] == 6
    names = Store.open("out").query("SELECT DISTINCT name FROM rows ORDER BY name", kind="attack")["name"].tolist()
    assert [name.split("/")[0] for name in names] == ["left"] * 3 + ["right"] * 3


def test_folders_in_the_order_of_the_models_outputs(place):
    Path("images/left").rename("images/a right half")
    Path("images/right").rename("images/left")
    Path("images/a right half").rename("images/right")
    accuracy = {}
    for classes in ("left,right", "right,left"):
        result = place.evaluate("--classes", classes, "--json", out=classes)
        assert result.exit_code == 0, result.output
        assert Store.open(classes).plan["data"]["class_names"] == classes.split(",")
        accuracy[classes] = json.loads(result.stdout)["clean_accuracy"]["accuracy"]
    assert accuracy == {"left,right": 0.0, "right,left": 1.0}


def test_npz_binary_and_weights_from_a_file(place):
    images = np.stack([place.draw(label, number) for number in range(8) for label in (0, 1)])
    np.savez("data.npz", val_images=images, val_labels=np.arange(16)[:, None] % 2)
    save_file({"scale": torch.tensor(-20.0)}, "weights.safetensors")
    options = ["--weights", "weights.safetensors", "--split", "val", "--task", "binary", "--json"]
    result = place.evaluate(*options, data="data.npz")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["clean_accuracy"]["accuracy"] == 0.0
    assert Store.open("out").plan["model"]["task"] == "binary"


# What does not: one sentence, the right exit code, nothing left behind


def refused(place, result, code, *words):
    before = place.before
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    said = [line for line in result.stderr.splitlines() if "talks" not in line]
    assert said[-1].startswith("Error: "), said
    assert "Traceback" not in result.output
    for word in words:
        assert word in said[-1]
    assert sum(line.startswith("Error") for line in said) == 1
    assert isinstance(result.exception, SystemExit)
    assert everything() == before


@pytest.fixture
def wrong(place):
    """Run `evaluate` and expect it to refuse; what is on disk must not change."""

    def run(*arguments, code=2, says=(), **named):
        place.before = everything()
        refused(place, place.evaluate(*arguments, **named), code, *says)

    return run


def test_missing_data(wrong):
    wrong(data="nowhere", says=["nowhere", "no such file or folder"])


def test_empty_folder(wrong):
    Path("empty").mkdir()
    wrong(data="empty", says=["empty"])


def test_empty_class(wrong):
    Path("images/third").mkdir()
    wrong(says=["third", "empty"])


def test_one_class_only(wrong):
    for path in Path("images/right").iterdir():
        path.unlink()
    Path("images/right").rmdir()
    wrong(says=["only one class"])


def test_images_of_mixed_size(wrong, place):
    Image.fromarray(place.draw(0, 0, size=20)).save("images/right/3.png")
    wrong(says=["differ in size", "--size"])


def test_more_classes_than_logits(wrong, place):
    Path("images/upper").mkdir()
    Image.fromarray(place.draw(0, 0)).save("images/upper/0.png")
    Image.fromarray(place.draw(0, 0)).save("images/upper/1.png")
    end = "but --model models.py:good answers with classes 0 to 1"
    wrong(says=[f"images: image 'upper/0.png' is of class 2 ('upper'), {end}"])
    order = ["--classes", "left,upper,right"]
    wrong(*order, says=[f"images: image 'right/0.png' is of class 2 ('right'), {end}"])
    Path("flat").mkdir()
    Path("labels.csv").write_text("name,label\n0.png,1\n1.png,0\n2.png,3\n3.png,2\n")
    images = np.stack([place.draw(0, number) for number in range(4)])
    for number, image in enumerate(images):
        Image.fromarray(image).save(f"flat/{number}.png")
    told = [f"labels.csv: image '2.png' is of class 3 ('3'), {end}"]
    wrong("--labels", "labels.csv", data="flat", says=told)
    np.savez("data.npz", test_images=images, test_labels=np.array([0, 0, 0, 2]))
    few = ["--limit", 2]  # the first and the third
    assert place.evaluate(*few, data="data.npz", out="of two").exit_code == 0
    wrong(data="data.npz", says=[f"data.npz: image '3' is of class 2 ('2'), {end}"])


def test_more_logits_than_classes(wrong, place):
    told = ["models.py:quarters", "answers with 4 classes, but images has 2 (left, right)", "--classes"]
    wrong(model="models.py:quarters", says=told)
    Path("labels.csv").write_text("name,side\n0.png,left\n1.png,right\n2.png,right\n")
    Path("flat").mkdir()
    for number in range(3):
        Image.fromarray(place.draw(0, number)).save(f"flat/{number}.png")
    table = ["--labels", "labels.csv", "--classes", "left,right"]
    wrong(*table, model="models.py:quarters", data="flat", says=["answers with 4 classes, but flat has 2"])
    table[-1] = "left,right,upper,lower"
    assert place.evaluate(*table, model="models.py:quarters", data="flat").exit_code == 0


def test_label_below_zero(wrong, place):
    images = np.stack([place.draw(0, number) for number in range(4)])
    np.savez("data.npz", test_images=images, test_labels=np.array([0, 1, -1, 0]))
    wrong(data="data.npz", says=["data.npz", "-1"])


def test_nan_in_an_image(wrong, place):
    images = np.stack([place.draw(0, number) for number in range(4)]).astype(np.float32) / 255
    images[2, 3, 3] = np.nan
    np.savez("data.npz", test_images=images, test_labels=np.array([0, 1, 1, 0]))
    wrong(data="data.npz", says=["data.npz"])


def test_corrupt_png(wrong):
    path = Path("images/left/2.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    wrong(says=["left/2.png", "not a readable PNG"])


def test_truncated_png(wrong):
    path = Path("images/left/2.png")
    path.write_bytes(path.read_bytes()[:60])
    wrong(says=["left/2.png"])


def test_truncated_dicom(wrong, place):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset("x.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = place.draw(0, 0).tobytes()
    pydicom.dcmwrite("images/left/9.dcm", dataset, enforce_file_format=True)
    assert place.evaluate(out="whole").exit_code == 0
    Path("images/left/9.dcm").write_bytes(Path("images/left/9.dcm").read_bytes()[:-100])
    wrong(says=["left/9.dcm"])


def test_a_file_that_is_no_image(wrong):
    Path("images/left/notes.txt").write_text("text")
    wrong(says=["notes.txt", "neither"])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("models.py:in_training", "eval() mode"),
        ("models.py:probabilities", "like probabilities"),
        ("models.py:fails", "the model failed on the images (KeyError"),
        ("models.py:one_way", "the model failed under attack (IndexError: no way back)"),
        ("models.py:detached", "gradient to its input"),
        ("models.py:wrong_shape", "cannot read images"),
        ("models.py:not_a_model", "must return a torch.nn.Module"),
        ("models.py:needs_arguments", "must need no arguments"),
        ("models.py:raises", "cannot be made"),
        ("models.py:nothing", "no function 'nothing'"),
        ("nothing.py:good", "no file nothing.py"),
        ("no_such_package:good", "No module named 'no_such_package'"),
        ("models.py", "'file.py:function' expected"),
    ],
)
def test_models_that_cannot_be_used(wrong, model, words):
    wrong(model=model, says=[words])


def test_one_probability(wrong):
    wrong("--task", "binary", model="models.py:one_probability", says=["remove the final sigmoid"])


def test_module_without_python(wrong):
    Path("broken.py").write_text("def good(:\n")
    wrong(model="broken.py:good", says=["SyntaxError"])


def test_weights_that_do_not_fit(wrong):
    save_file({"scales": torch.tensor(1.0)}, "weights.safetensors")
    wrong("--weights", "weights.safetensors", says=["1 tensors are missing (scale)"])


def test_missing_weights(wrong):
    wrong("--weights", "nowhere.pt", says=["no file nowhere.pt"])


class Payload:
    def __reduce__(self):
        return (os.mkdir, ("code-ran",))


def write_pickle(path):
    torch.save({"scale": Payload()}, path)


def write_module(path):
    torch.save(torch.nn.Linear(2, 2), path)


def write_torchscript(path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)


def write_pt2(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/archive_format", "pt2")
        archive.writestr("model/data/sample_inputs/model.pt", b"pickle")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("write", [write_pickle, write_module, write_torchscript, write_pt2])
def test_files_that_could_run_code_are_refused(wrong, write):
    write("weights.pt")
    wrong("--weights", "weights.pt", code=3, says=["weights.pt", "convert it where you trust it"])
    assert not Path("code-ran").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--attack", "newton"], "unknown attack, choose from pgd, bias-field"),
        (["--attack", "pgd", "--attack", "pgd"], "given twice"),
        (["--budget=-0.1"], "eps must be at least 0, got -0.1"),
        (["--budget", "-1/255"], "--budget pgd: eps must be at least 0, got -0.0039"),
        (["--attack", "bias-field", "--budget", "1.0"], "gain must be above 1, got 1.0"),
        (["--budget", "4/0"], "'4/0' is not a number"),
        (["--budget", "4/x"], "'4/x' is not a number"),
        (["--budget", "0.1,,0.2"], "'' is not a number"),
        (["--budget", "nan"], "eps must be finite, got nan"),
        (["--budget", "inf"], "eps must be finite, got inf"),
        (["--budget", "0.1,1/10"], "a budget is there twice"),
        (["--budget", "bias-field=1.2"], "there is no --attack bias-field"),
        (["--budget", "0.1", "--budget", "0.2"], "has its budgets already"),
        (["--attack", "pgd", "--attack", "bias-field", "--budget", "0.1"], "say which attack it is for"),
        (["--steps", "0"], "--steps"),
        (["--limit", "0"], "--limit"),
        (["--seed", "-1"], "--seed"),
        (["--seed", str(2**64)], "seed must be below"),
        (["--channels", "2"], "--channels"),
        (["--device", "quantum"], "--device quantum"),
        (["--task", "segmentation"], "--task"),
        (["--window", "0", "100"], "--window"),
    ],
)
def test_wrong_options(wrong, arguments, words):
    wrong(*arguments, says=[words])


def test_missing_options_are_named(place):
    result = place.run("evaluate", "--model", "models.py:good")
    assert result.exit_code == 2
    assert "Missing option" in result.stderr


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("mine")])
def test_existing_output_is_not_touched(wrong, make):
    make(Path("out"))
    wrong(says=["out: exists already", "--resume"])


def test_output_under_a_file(wrong):
    wrong(out="models.py/out", says=["models.py"])


# Resuming


def test_resume_needs_the_same_plan(place, wrong):
    assert place.evaluate("--budget", "0.01").exit_code == 0
    first = Store.open("out").plan
    wrong("--budget", "0.02", "--resume", says=["out holds another evaluation", "attacks[0].budgets[0] was 0.01"])
    wrong("--budget", "0.01", "--seed", 1, "--resume", says=["seed was 0 and is now 1"])
    wrong("--attack", "mi-fgsm", "--resume", says=["continued: attacks was pgd and is now mi-fgsm"])
    both = ["--attack", "pgd", "--attack", "mi-fgsm"]
    wrong(*both, "--resume", says=["continued: attacks was pgd and is now pgd, mi-fgsm"])
    again = place.evaluate("--budget", "0.01", "--resume")
    assert again.exit_code == 0, again.output
    assert Store.open("out").plan == first


def test_resume_of_a_damaged_store(place):
    assert place.evaluate("--budget", "0.01").exit_code == 0
    victim = next(Path("out/units").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1])
    result = place.evaluate("--budget", "0.01", "--resume")
    assert result.exit_code == 4, result.output
    assert "damaged" in result.stderr
    Path("out/plan.json").unlink()
    assert place.evaluate("--budget", "0.01", "--resume").exit_code == 4


SLOW = ["--model", "models.py:slow", "--data", "images", "--attack", "pgd", "--steps", "4", "--batch-size", "4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_continued_with_the_command_that_is_told(place, number):
    assert place.evaluate(*SLOW[4:], model="models.py:slow", out="whole").exit_code == 0
    with program("evaluate", *SLOW, "--out", "out") as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list(Path("out/receipts").glob("*.json")):
            time.sleep(0.02)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 75, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    interrupted = Store.open("out")
    assert 0 < len(interrupted.done()) < len(interrupted.plan["units"])
    assert not Path("out/report.html").exists()
    command = shlex.split(stderr.splitlines()[-1].partition("continue with: ")[2])
    assert command[-1] == "--resume"
    with program(*command[1:]) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    sql = "SELECT * FROM rows ORDER BY unit, example"
    whole, resumed = Store.open("whole").query(sql, "attack"), Store.open("out").query(sql, "attack")
    assert {name: values.tolist() for name, values in whole.items()} == {
        name: values.tolist() for name, values in resumed.items()
    }


def test_interrupted_while_the_model_is_made(place):
    making = "import pathlib, time\n\ndef model():\n    pathlib.Path('made').touch()\n    time.sleep(60)\n"
    Path("slow.py").write_text(making)
    with program(
        "evaluate", "--model", "slow.py:model", "--data", "images", "--attack", "pgd", "--out", "x"
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not Path("made").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (75, "")
    assert stderr.splitlines()[-1] == "Error: interrupted before the first attack; nothing was written"
    assert not Path("x").exists()


# The real program


def test_the_real_program_refuses_with_one_line(place):
    before = everything()
    with program("evaluate", "--model", "models.py:good", "--data", "nowhere", "--attack", "pgd", "--out", "x") as one:
        stdout, stderr = one.communicate(timeout=60)
    assert (one.returncode, stdout) == (2, "")
    assert stderr == "Error: nowhere: no such file or folder\n"
    write_pickle("weights.pt")
    given = ["--model", "models.py:good", "--weights", "weights.pt", "--data", "images", "--attack", "pgd"]
    with program("evaluate", *given, "--out", "x") as one:
        stdout, stderr = one.communicate(timeout=60)
    assert (one.returncode, stdout) == (3, "")
    assert stderr.splitlines()[-1].startswith("Error: weights.pt: ")
    Path("weights.pt").unlink()
    assert everything() == before


def test_help_report_and_verify_do_not_import_torch(place):
    assert place.evaluate("--budget", "0.01").exit_code == 0
    for arguments in (["--help"], ["evaluate", "--help"], ["demo", "--help"], ["report", "out"], ["verify", "out"]):
        code = (
            "import sys; from medadv.cli.main import program; program.main(sys.argv[1:], standalone_mode=False); "
            "sys.exit(9 if 'torch' in sys.modules else 0)"
        )
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (arguments, done.stderr)


def test_version():
    result = CliRunner().invoke(medadv.cli.main.program, ["--version"])
    assert result.output == f"medadv, version {medadv.__version__}\n"
