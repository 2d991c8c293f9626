"""`medadv evaluate` on models as they are deployed: random numbers, a detector, a gradient that is put in place."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medadv.cli.attack_choice import parse_attacks
from medadv.models import load_victim
from medadv.sweep import Store

DEPLOYED = '''
import os

import torch
from models import BrighterHalf, BrightQuarters, HounsfieldUnits
from torch import nn

from medadv.detectors import GuardedVictim
from medadv.models import BPDA, RandomisedVictim, Victim


class Noise(nn.Module):
    def forward(self, images):
        return images + 0.02 * torch.randn_like(images)


def randomised():
    draws = int(os.environ.get("DRAWS", 3))
    return RandomisedVictim(nn.Sequential(Noise(), BrighterHalf()).eval(), draws=draws, seed=5)


class Bright:
    """Rejects what is bright in the mean."""

    layers, unit = ("0",), 0.05
    threshold = float(os.environ.get("THRESHOLD", 0.48))

    def score(self, features):
        return features["0"].mean(dim=1)


def classifier():
    return nn.Sequential(nn.Identity(), BrighterHalf()).eval()


def guarded():
    return GuardedVictim(Victim(classifier()), Bright())


def guarded_findings():
    network = nn.Sequential(nn.Identity(), BrightQuarters(classes=4)).eval()
    return GuardedVictim(Victim(network, task="multilabel"), Bright())


def normalised():
    return Victim(BrighterHalf().eval(), task="binary", mean=0.25, std=0.5)


def hounsfield():
    return Victim(HounsfieldUnits().eval(), bounds=(-1024, 3071))


def rounded():
    return nn.Sequential(Levels(), BrighterHalf()).eval()


class Levels(nn.Module):
    def forward(self, images):
        return (images * 31).round() / 31


def rounded_but_followed():
    return nn.Sequential(BPDA(Levels()), BrighterHalf()).eval()
'''


@pytest.fixture
def deployed(place):
    """`evaluate` on one of the models above."""
    Path("deployed.py").write_text(DEPLOYED)

    def evaluate(name, *arguments, **named):
        return place.evaluate(*arguments, model=f"deployed.py:{name}", **named)

    return evaluate


def rows_of(kind="attack", store="out"):
    return Store.open(store).query("SELECT * FROM rows JOIN units USING (unit) ORDER BY attack, budget, example", kind)


def words(result):
    return " ".join(result.stdout.split())


# Random numbers


def test_a_model_that_draws_random_numbers(deployed):
    attacks = ["--attack", "pgd:gradient.samples=2", "--attack", "square:queries=5", "--budget", "pgd=1/50,1/10"]
    result = deployed("randomised", *attacks)
    assert result.exit_code == 0, result.output
    plan = Store.open("out").plan
    assert {name: plan["model"][name] for name in ("kind", "draws", "seed", "task")} == {
        "kind": "RandomisedVictim",
        "draws": 3,
        "seed": 5,
        "task": "multiclass",
    }
    assert "samples=2" in plan["attacks"][0]["configuration"]["gradient"]
    table = rows_of()
    assert (table["status"] == "success").any()
    assert set(table["forwards"][table["attack"] == "square:queries=5"] % 3) == {0}
    for told in (words(result), " ".join(Path("out/report.html").read_text().split())):
        assert "the mean of its logits over 3 fixed draws is wrong" in told
        assert "PGD (L∞) follows the gradients of other draws, fresh in every step." in told
        assert "Square (L∞) sees the very draws that decide." in told


def test_other_draws_are_another_evaluation(deployed, monkeypatch):
    assert deployed("randomised", "--budget", "0.01").exit_code == 0
    monkeypatch.setenv("DRAWS", "4")
    again = deployed("randomised", "--budget", "0.01", "--resume")
    assert again.exit_code == 2
    assert "model.draws was 3 and is now 4" in again.stderr


# A detector


def test_a_model_with_a_detector(deployed):
    attacks = ["--attack", "pgd", "--attack", "square:queries=5", "--attack", "transfer-pgd"]
    given = ["--surrogate", "deployed.py:classifier", "--budget", "pgd=1/50,1/10", "--json"]
    result = deployed("guarded", *attacks, *given)
    assert result.exit_code == 0, result.output
    plan = Store.open("out").plan
    objectives = {entry["name"]: entry["configuration"].get("objective") for entry in plan["attacks"]}
    assert objectives == {
        "pgd": "Undetected(objective=Margin())",
        "square:queries=5": None,
        "transfer-pgd": "CrossEntropy()",
    }
    detector = {"kind": "Bright", "layers": ["0"], "threshold": 0.48, "unit": 0.05}
    assert {name: plan["model"]["detector"][name] for name in detector} == detector
    assert plan["model"]["rejection"] == 2
    table = rows_of()
    images = torch.from_numpy(np.stack([np.asarray(clean_image(name)) for name in table["name"][:16]]))
    bright = images.float().flatten(1).mean(1) > 0.48
    assert 0 < int(bright.sum()) < 16
    assert ((table["clean_prediction"][:16] == 2) == bright.numpy()).all()
    fooled = table["status"] == "success"
    assert fooled[table["attack"] == "pgd"].any()
    assert set(table["prediction"][fooled]) == {0, 1}
    assert (table["prediction"][fooled] != table["label"][fooled]).all()
    told = json.loads(result.stdout)
    assert told["rejected_without_attack"]["count"] == int(bright.sum())
    report = " ".join(Path("out/report.html").read_text().split())
    assert f"rejects {int(bright.sum())} of the 16 images without attack" in report
    assert "fooled only where its answer is wrong and goes undetected" in report
    assert "PGD (L∞) raises Undetected(objective=Margin()), which knows of it." in report
    assert "Transferred PGD (L∞) knows nothing of it." in report
    assert "Bright on 0, threshold 0.48, unit 0.05" in report
    assert "class 2" not in report


def clean_image(name):
    from PIL import Image

    return np.asarray(Image.open(Path("images", name)), dtype=np.float64) / 255


def test_another_threshold_is_another_evaluation(deployed, monkeypatch):
    assert deployed("guarded", "--budget", "0.01").exit_code == 0
    monkeypatch.setenv("THRESHOLD", "0.47")
    again = deployed("guarded", "--budget", "0.01", "--resume")
    assert again.exit_code == 2
    assert "model.detector.threshold was 0.48 and is now 0.47" in again.stderr


def test_a_detector_that_holds_something_else_is_another_evaluation(deployed, monkeypatch):
    source = Path("deployed.py").read_text()
    holding = 'GuardedVictim(Victim(classifier()), Bright(torch.full((3,), float(os.environ["HELD"]))))'
    Path("deployed.py").write_text(
        source.replace("GuardedVictim(Victim(classifier()), Bright())", holding).replace(
            "    def score(", "    def __init__(self, held=None):\n        self.held = held\n\n    def score("
        )
    )
    monkeypatch.setenv("HELD", "1")
    assert deployed("guarded", "--budget", "0.01").exit_code == 0
    assert deployed("guarded", "--budget", "0.01", "--resume").exit_code == 0
    monkeypatch.setenv("HELD", "2")
    again = deployed("guarded", "--budget", "0.01", "--resume")
    assert again.exit_code == 2
    assert "model.detector.sha256 was" in again.stderr


def test_what_the_table_says_of_a_detector_that_no_attack_goes_against(deployed):
    result = deployed("guarded", "--attack", "square:queries=3", "--budget", "0.01")
    assert result.exit_code == 0, result.output
    assert "No attack here makes gradient steps against it" in words(result)


def test_findings_and_a_detector(deployed, place):
    place.write_findings(Path("films"))
    given = ["--labels", "films.csv", "--task", "multilabel", "--classes", ",".join(place.FINDINGS)]
    result = deployed("guarded_findings", *given, "--attack", "pgd", "--budget", "1/10", data="films")
    assert result.exit_code == 0, result.output
    table = rows_of()
    assert "rejected" in table["clean_prediction"]
    assert (table["status"][table["clean_prediction"] == "rejected"] != "already wrong").all()
    assert "An image counts as right only if all 4 findings are" in Path("out/report.html").read_text()


@pytest.mark.parametrize(
    ("given", "objective"),
    [
        ("pgd", "Undetected(objective=Margin())"),
        ("pgd:objective=cross-entropy", "Undetected(objective=CrossEntropy())"),
        ("apgd:objective=dlr", "Undetected(objective=DLR())"),
        ("smooth-bias-field", "Undetected(objective=Margin())"),
        ("stabilised", "Undetected(objective=Stabilised("),
    ],
)
def test_the_objective_is_made_one_that_knows_of_the_detector(given, objective):
    (choice,) = parse_attacks([given])
    assert choice.build({}, guarded=True).configuration()["objective"].startswith(objective)
    assert "Undetected" not in choice.build({}).configuration()["objective"]


# A gradient that is put in place


def test_a_preprocessing_without_a_gradient_needs_bpda(deployed):
    assert deployed("rounded", "--budget", "1/10", "--json", out="hidden").exit_code == 0
    result = deployed("rounded_but_followed", "--budget", "1/10", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["attacks"][0]["accuracy"] == 0
    hidden = json.loads(Path("hidden/plan.json").read_text())
    assert hidden["model"]["kind"] == "Victim"
    assert (rows_of(store="hidden")["status"] == "failed").all()


# What the victim says, and what the options say


def test_normalisation_and_task_are_those_of_the_victim(deployed):
    save_file({"scale": torch.tensor(-20.0)}, "weights.safetensors")
    result = deployed("normalised", "--weights", "weights.safetensors", "--budget", "0.01", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["clean_accuracy"]["accuracy"] == 0
    plan = Store.open("out").plan["model"]
    assert (plan["task"], plan["mean"], plan["std"]) == ("binary", [0.25], [0.5])
    assert "mean 0.25; std 0.5" in Path("out/report.html").read_text()


def test_a_victim_with_bounds(deployed, place):
    place.write_volumes(Path("scans"))
    refused = deployed("hounsfield", data="scans")
    assert refused.exit_code == 2
    given = ["--bounds", -1024, 3071, "--budget", "10HU"]
    result = deployed("hounsfield", *given, data="scans")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[2].split()[:4] == ["PGD", "(L∞)", "10", "units"]


@pytest.mark.parametrize(
    ("model", "arguments", "says"),
    [
        ("normalised", ["--task", "multiclass"], "returns a victim with the task binary, but --task says multiclass"),
        ("guarded_findings", [], "returns a victim with the task multilabel; give --task multilabel and --labels FILE"),
        ("hounsfield", [], "images from -1024 to 3071, but they are read from 0 to 1; give --bounds -1024 3071"),
        ("guarded", ["--weights", "weights.safetensors"], "which is fitted already; load them in guarded()"),
        ("guarded", ["--attack", "auto-attack"], "auto-attack looks at a classifier alone, got GuardedVictim"),
        ("guarded", ["--attack", "deepfool"], "deepfool looks at a classifier alone, got GuardedVictim"),
        ("guarded", ["--attack", "pgd:gradient.samples=2"], "samples must be 1 where nothing is random"),
        ("randomised", ["--attack", "pgd:gradient.samples=0"], "samples must be at least 1, got 0"),
        ("randomised", ["--attack", "pgd:gradient.draws=2"], "pgd has no option 'gradient.draws'"),
        ("randomised", ["--attack", "square:gradient.samples=2"], "square has no option 'gradient.samples'"),
        (
            "classifier",
            ["--attack", "transfer-pgd", "--surrogate", "deployed.py:hounsfield"],
            "--surrogate deployed.py:hounsfield: returns a victim for images from -1024 to 3071",
        ),
    ],
)
def test_contradictions_are_told_in_one_sentence(deployed, model, arguments, says):
    save_file({"1.scale": torch.tensor(3.0)}, "weights.safetensors")
    result = deployed(model, *arguments)
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert not Path("out").exists()


def test_a_class_that_a_guarded_model_does_not_have(deployed):
    Path("images/upper").mkdir()
    Path("images/left/0.png").rename("images/upper/0.png")
    result = deployed("guarded")
    assert result.exit_code == 2, result.output
    end = "but --model deployed.py:guarded answers with classes 0 to 1"
    assert f"Error: images: image 'upper/0.png' is of class 2 ('upper'), {end}\n" in result.stderr


def test_what_a_function_returns(deployed):
    assert repr(load_victim("deployed.py:randomised")).startswith("RandomisedVictim(")
    assert load_victim("deployed.py:classifier", task="binary").task.name == "binary"
