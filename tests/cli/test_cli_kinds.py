"""`medadv evaluate` on every kind of attack and of data, end to end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from medadv.cli.attack_choice import parse_attacks
from medadv.models import load_model, model_sha256
from medadv.sweep import Store

ROOT = Path(__file__).resolve().parents[2]
ROWS = "SELECT * FROM rows JOIN units USING (unit) ORDER BY attack, example"


def program(*arguments):
    """The real program in a process of its own."""
    code = "import sys; from medadv.cli.main import main; main(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def rows_of(kind, order="attack, example", store="out"):
    return Store.open(store).query(f"SELECT * FROM rows JOIN units USING (unit) ORDER BY {order}", kind=kind)


def report(store="out"):
    return Path(store, "report.html").read_text()


# Attacks


def test_the_smallest_change_is_looked_for_once_and_budgets_are_read_off(place):
    attacks = ["--attack", "ddn:steps=20", "--attack", "deepfool:norm=linf"]
    result = place.evaluate(*attacks, "--budget", "ddn=0.2,0.5,5", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    found, at_budgets = rows_of("search"), rows_of("attack", "attack, budget, example")
    assert found["status"].tolist() == ["success"] * 32
    expected = [
        "success" if distance <= budget else "failed"
        for attack, budgets in (("ddn:steps=20", (0.2, 0.5, 5)), ("deepfool:norm=linf", np.array([1, 2, 4, 8]) / 255))
        for budget in budgets
        for distance in found["distance"][found["attack"] == attack]
    ]
    assert at_budgets["status"].tolist() == expected
    assert 0 < expected.count("failed") < len(expected)
    beyond = at_budgets["status"] == "failed"
    assert (at_budgets["prediction"] == at_budgets["clean_prediction"]).tolist() == beyond.tolist()
    assert set(at_budgets["distance"][beyond]) == {0.0}
    assert (at_budgets["loss"][beyond] < 0).all()
    medians = {entry["attack"]: entry["median"] for entry in told["smallest_changes"]}
    for attack in ("ddn:steps=20", "deepfool:norm=linf"):
        assert medians[attack] == np.sort(found["distance"][found["attack"] == attack])[7]
    words = report()
    assert "Smallest changes" in words
    assert "DDN (L2) fools 16 of the 16 images that are right at first; for half of them" in words
    assert "DeepFool (L∞)" in words


def test_black_box_attacks_ensembles_and_surrogates(place):
    save_file({"scale": load_model("models.py:duller", None).scale.detach() * 0 + 3.0}, "weights.safetensors")
    attacks = ["square:queries=30", "random-noise:draws=2", "transfer-mi-fgsm:steps=3", "transfer-pgd", "auto-attack"]
    given = [word for attack in attacks for word in ("--attack", attack)]
    budgets = ["--budget", "auto-attack=8/255", "--budget", "square=1/10", "--budget", "random-noise=1/50"]
    surrogate = ["--surrogate", "models.py:duller", "--surrogate-weights", "weights.safetensors"]
    result = place.evaluate(*given, *budgets, *surrogate, "--limit", 6)
    assert result.exit_code == 0, result.output
    table = rows_of("attack")
    backwards = {name: table["backwards"][table["attack"] == name].max() for name in attacks}
    assert [backwards[name] > 0 for name in attacks] == [False, False, False, False, True]
    # One question per image and budget, and one for the clean image at the first budget.
    asked = table["forwards"][table["attack"] == "transfer-pgd"]
    assert set(asked.tolist()) <= {1, 2}
    transferred = table["attack"] == "transfer-mi-fgsm:steps=3"
    assert (table["status"][transferred] == "success").any()
    plan = {entry["name"]: entry["configuration"] for entry in Store.open("out").plan["attacks"]}
    assert plan["transfer-pgd"]["surrogate"] == "models.py:duller"
    module = load_model("models.py:duller", Path("weights.safetensors"))
    assert plan["transfer-pgd"]["surrogate_sha256"] == model_sha256(module)
    assert plan["transfer-pgd"]["stop_early"] is False
    assert "surrogate" not in plan["auto-attack"]
    for title in ("Square (L∞)", "Random noise (L∞)", "Transferred MI-FGSM (L∞)", "AutoAttack (L∞)"):
        assert title in report()


def test_one_attack_with_other_options_twice(place):
    result = place.evaluate("--attack", "pgd:steps=2", "--attack", "pgd:norm=l2,steps=2", "--limit", 4)
    assert result.exit_code == 0, result.output
    plan = Store.open("out").plan
    assert [entry["name"] for entry in plan["attacks"]] == ["pgd:steps=2", "pgd:norm=l2,steps=2"]
    assert [entry["budgets"][-1] for entry in plan["attacks"]] == [8 / 255, 2.0]
    assert "PGD (L2)" in result.stdout


# Data


def test_findings(place):
    place.write_findings(Path("films"))
    given = ["--labels", "films.csv", "--task", "multilabel", "--classes", ",".join(place.FINDINGS)]
    attacks = ["--attack", "pgd", "--attack", "hop-skip-jump:steps=1", "--budget", "pgd=1/50,1/10"]
    result = place.evaluate(*given, *attacks, "--json", data="films", model="models.py:quarters")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["clean_accuracy"]["accuracy"] == 1.0
    table = rows_of("attack", "attack, budget, example")
    labels = [line.split(",")[1] for line in Path("films.csv").read_text().splitlines()[1:]]
    assert table["label"][:12].tolist() == labels
    fooled = table["status"] == "success"
    assert (table["label"] == table["clean_prediction"]).all()
    assert (table["prediction"] != table["label"]).tolist() == fooled.tolist()
    assert fooled.any()
    words = report()
    assert "An image counts as right only if all 4 findings are" in words
    assert "4 findings each" in words
    assert Store.open("out").plan["model"]["task"] == "multilabel"
    stored = [entry["configuration"].get("objective") for entry in Store.open("out").plan["attacks"]]
    assert stored == ["Margin()", None]


@pytest.mark.parametrize(
    ("given", "classes", "findings"),
    [
        ("pgd", "CrossEntropy()", "Margin()"),
        ("transfer-mi-fgsm", "CrossEntropy()", "Margin()"),
        ("pgd:objective=cross-entropy", "CrossEntropy()", "CrossEntropy()"),
        ("affine:objective=margin", "Margin()", "Margin()"),
        ("smooth-bias-field", "CrossEntropyOrMargin()", "Margin()"),
    ],
)
def test_the_objective_suits_the_task(given, classes, findings):
    (choice,) = parse_attacks([given])
    assert choice.build({}).configuration()["objective"] == classes
    assert choice.build({}, findings=True).configuration()["objective"] == findings


@pytest.mark.parametrize("given", ["stabilised", "square", "ddn"])
def test_attacks_with_an_aim_of_their_own_keep_it_for_findings(given):
    (choice,) = parse_attacks([given])
    assert choice.build({}, findings=True) == choice.build({})


def test_volumes_in_hounsfield_units(place):
    place.write_volumes(Path("scans"))
    given = ["--bounds", -1024, 3071, "--attack", "pgd", "--attack", "bias-field", "--attack", "ddn:steps=10"]
    budgets = ["--budget", "pgd=10HU,40HU", "--budget", "bias-field=1.1,1.3"]
    result = place.evaluate(*given, *budgets, data="scans", model="models.py:hounsfield")
    assert result.exit_code == 0, result.output
    store = Store.open("out")
    assert store.plan["data"]["bounds"] == [-1024.0, 3071.0]
    assert store.plan["data"]["shape"] == [1, 3, 4, 8]
    assert store.plan["attacks"][0]["budgets"] == [10 / 4095, 40 / 4095]
    pgd = rows_of("attack")
    distances = pgd["distance"][(pgd["attack"] == "pgd") & (pgd["status"] != "already wrong")]
    assert 0 < distances.max() <= 40 / 4095
    for receipt in store.receipts("attack"):
        panels = store.artifacts(receipt.unit.id)
        assert panels["clean"].shape == (2, 1, 4, 8)
        assert ((panels["slices"] >= 0) & (panels["slices"] < 3)).all()
        if receipt.unit.fields["attack"] == "pgd":
            largest = np.abs(panels["adversarial"].astype(np.float64) - panels["clean"]).max()
            assert largest <= receipt.unit.fields["budget"] * 4095
    assert result.stdout.splitlines()[2].split()[:3] == ["PGD", "(L∞)", "10"]
    words = report()
    assert "of 3, where most changed" in words
    assert "40 of the 4095 units of the intensity range" in words
    assert "Budgets of noise are in units of the image, whose range is -1024 to 3071." in words


def test_volumes_of_an_npz_file_are_resized(place):
    volumes = np.stack([place.draw_volume(label, number) for number in range(4) for label in (0, 1)])
    np.savez("data.npz", test_images=(volumes * 255).astype(np.uint8), test_labels=np.arange(8) % 2)
    result = place.evaluate("--size", 2, 6, 8, "--attack", "pgd", "--steps", 2, data="data.npz")
    assert result.exit_code == 0, result.output
    plan = Store.open("out").plan
    assert plan["data"]["shape"] == [1, 2, 6, 8]
    assert plan["shards"] == [[0, 7]]
    assert Store.open("out").receipts("attack")[0].facts["batch_size"] == 4


# Interruptions


SLOW = ["--model", "models.py:slow", "--data", "images", "--attack", "hop-skip-jump:steps=1,probes=8"]
SLOW += ["--attack", "square:queries=4", "--attack", "deepfool", "--batch-size", "4"]


def test_killed_while_searching_and_continued(place):
    assert place.evaluate(*SLOW[4:], model="models.py:slow", out="whole").exit_code == 0
    with program("evaluate", *SLOW, "--out", "out") as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list(Path("out/receipts").glob("*.json")):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    done = Store.open("out").done()
    assert 0 < len(done) < len(Store.open("out").plan["units"])
    # The worst moment: the search is there, and some of the budgets are not.
    search = Store.open("out").receipts("search")[0]
    assert search.unit.fields["attack"].startswith("hop-skip-jump")
    result = place.evaluate(*SLOW[4:], "--resume", model="models.py:slow", out="out")
    assert result.exit_code == 0, result.output
    for kind in ("search", "attack"):
        whole, resumed = rows_of(kind, "unit, example", "whole"), rows_of(kind, "unit, example")
        for name in set(whole) - {"host", "committed"}:
            assert whole[name].tolist() == resumed[name].tolist(), name
    left = [path.name for path in Path("out/tmp").iterdir()]
    assert left == []


# What cannot be done: one sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--attack", "transfer-pgd"], "transfer-pgd: needs a model to be made on, --surrogate SOURCE"),
        (["--surrogate", "models.py:duller"], "no attack is made on it, as in --attack transfer-mi-fgsm"),
        (["--surrogate-weights", "w.pt"], "there is no --surrogate"),
        (["--attack", "square", "--steps", "3"], "--steps 3: none of the attacks has steps"),
        (["--attack", "ddn", "--budget", "-1"], "budget must be at least 0, got -1.0"),
        (["--task", "multilabel"], "several findings need a table of labels, --labels FILE"),
        (["--classes", "left,rihgt"], "images: 'right' is not among the --classes left, rihgt"),
        (["--classes", "left,right,up"], "images: no folder of the class 'up', which --classes names"),
        (["--classes", "a,,b"], "--classes a,,b: different names expected"),
        (["--labels", "nowhere.csv"], "nowhere.csv: no such file"),
        (["--bounds", "1", "0"], "bounds must be (low, high) with low below high"),
        (["--bounds", "0", "255"], "PNG and JPEG lie in [0, 1]"),
        (["--clip"], "clip must come with the bounds"),
        (["--orientation", "XYZ"], "orientation must name a side"),
        (["--size", "8", "8", "8"], "an image, for which --size takes 2 numbers, H W"),
        (["--size", "8"], "two or three whole numbers from 1 expected"),
        (["--size", "0", "8"], "two or three whole numbers from 1 expected"),
        (["--budget", "4HU"], "HU need the range of the images"),
        (["--attack", "transfer-pgd", "--surrogate", "models.py:raises"], "cannot be made"),
        (["--attack", "auto-attack", "--budget", "auto-attack=-1"], "eps must be at least 0"),
    ],
)
def test_wrong_input(place, arguments, words):
    before = sorted(str(path) for path in Path().rglob("*") if "__pycache__" not in path.parts)
    result = place.evaluate(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    said = [line for line in result.stderr.splitlines() if "talks" not in line]
    assert said[-1].startswith("Error: "), said
    assert words in said[-1]
    assert sorted(str(path) for path in Path().rglob("*") if "__pycache__" not in path.parts) == before


def test_an_image_without_a_label(place):
    place.write_findings(Path("films"))
    text = Path("films.csv").read_text().splitlines()
    Path("films.csv").write_text("\n".join(text[:-1]))
    given = ["--labels", "films.csv", "--task", "multilabel", "--classes", ",".join(place.FINDINGS)]
    result = place.evaluate(*given, data="films", model="models.py:quarters")
    assert result.exit_code == 2
    assert "films.csv: no row for 1 of 12 images, such as 011.png" in result.stderr


def test_a_surrogate_of_another_number_of_classes_is_refused(place):
    place.write_findings(Path("films"))
    given = ["--labels", "films.csv", "--task", "multilabel", "--classes", ",".join(place.FINDINGS)]
    given += ["--attack", "transfer-pgd", "--surrogate", "models.py:good"]
    result = place.evaluate(*given, data="films", model="models.py:quarters")
    assert result.exit_code == 2
    assert "targets must have 2 labels per image, as the model, got 4" in result.stderr


# Budgets that rise or fall


def test_budgets_fall_unless_they_are_told_to_rise(place):
    given = ("--attack", "pgd:steps=2", "--attack", "fgsm", "--limit", 4)
    assert place.evaluate(*given, out="fallen").exit_code == 0
    assert place.evaluate(*given, "--curve", "rising", out="risen").exit_code == 0
    kinds = [[entry["curve"] for entry in Store.open(out).plan["attacks"]] for out in ("fallen", "risen")]
    assert kinds == [["falling", "rising"], ["rising", "rising"]]
    assert "its budgets fall" in report("fallen")
    assert "its budgets fall" not in report("risen")
    result = place.evaluate(*given, "--curve", "flat")
    assert result.exit_code == 2
    assert "'flat' is not one of 'falling', 'rising'" in result.output
