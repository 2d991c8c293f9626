"""A small made-up sweep: 200 images, PGD at four budgets and a bias field at four, two shards each."""

import sys

import numpy as np
import pytest

from medadv.sweep.store import Store
from medadv.sweep.unit import Unit

COUNT = 200
SHARDS = [[0, 120], [120, 200]]
CLASSES = ["normal", "pneumonia"]
BUDGETS = {"pgd": [1 / 255, 2 / 255, 4 / 255, 8 / 255], "bias-field": [1.1, 1.2, 1.3, 1.5]}
CONFIGURATIONS = {
    "pgd": {"name": "pgd", "steps": 20, "step_size": None, "norm": "linf", "objective": "CrossEntropy()"},
    "bias-field": {"name": "bias-field", "steps": 20, "spacing": None, "rule": "sign"},
}
# An example that was right falls to a budget at or above its threshold, a share of the largest budget.
WRONG_AT_FIRST = np.arange(COUNT) % 14 == 3
THRESHOLD = {
    "pgd": np.random.default_rng(1).random(COUNT) ** 2 * 1.3,
    "bias-field": np.random.default_rng(2).random(COUNT) * 1.8,
}


def strength(attack, budget):
    identity = 1.0 if attack == "bias-field" else 0.0
    return (budget - identity) / (BUDGETS[attack][-1] - identity)


def status_at(attack, budget):
    """What the fixture says of every example: the truth that the report must show."""
    fooled = ~WRONG_AT_FIRST & (THRESHOLD[attack] <= strength(attack, budget))
    return np.where(WRONG_AT_FIRST, "already wrong", np.where(fooled, "success", "failed"))


def film(example, size=64):
    """Something like a chest film, [1, size, size]."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    lungs = sum(np.exp(-((((x - side) / 0.28) ** 2 + (y / 0.6) ** 2) ** 2)) for side in (-0.45, 0.45))
    ribs = 0.06 * np.sin(14 * y + 3 * x**2 + example)
    spot = 0.3 * np.exp(-(((x - 0.4) / 0.15) ** 2 + ((y - 0.1 * (example % 5)) / 0.15) ** 2))
    grain = np.random.default_rng(example).normal(0, 0.015, (size, size))
    return np.clip(0.75 - 0.5 * lungs + ribs + spot * (example % 2) + grain, 0, 1)[None].astype(np.float32)


def change_of(attack, budget, example, size=64):
    rng = np.random.default_rng(example)
    if attack == "pgd":
        return (budget * rng.choice([-1, -0.5, 0, 0.5, 1], (1, size, size))).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    wave = np.sin(2.2 * x + example) * np.cos(1.9 * y - example / 3)
    return (np.log(budget) * wave / np.abs(wave).max())[None].astype(np.float32)


def attack_columns(attack, budget, first, last):
    examples = np.arange(first, last)
    label = examples % 2
    status = status_at(attack, budget)[first:last]
    wrong, success = status == "already wrong", status == "success"
    identity = 1.0 if attack == "bias-field" else 0.0
    return {
        "example": examples,
        "name": [f"test/{CLASSES[example % 2]}/{example:04d}.png" for example in examples],
        "label": label,
        "clean_prediction": np.where(wrong, 1 - label, label),
        "prediction": np.where(wrong | success, 1 - label, label),
        "status": status.tolist(),
        "loss": np.where(wrong, np.nan, 1.5).astype(np.float32),
        "distance": np.where(wrong, identity, budget).astype(np.float32),
        "step": np.where(success, 3, -1),
        "forwards": np.where(wrong, 1, np.where(success, 4, 21)),
        "backwards": np.where(wrong, 0, np.where(success, 3, 20)),
    }


def attack_artifacts(attack, budget, first, last):
    status = status_at(attack, budget)[first:last]
    examples = np.flatnonzero(status == "success")[:2] + first
    if len(examples) == 0:
        examples = np.flatnonzero(status == "failed")[:1] + first
    clean = np.stack([film(example) for example in examples])
    change = np.stack([change_of(attack, budget, example) for example in examples])
    adversarial = clean * np.exp(change) if attack == "bias-field" else clean + change
    return {
        "examples": examples,
        "clean": clean,
        "adversarial": np.clip(adversarial, 0, 1).astype(np.float32),
        "change": change,
    }


def attack_units(attack, seed=0):
    parameter = "gain" if attack == "bias-field" else "eps"
    for budget in BUDGETS[attack]:
        for shard, (first, last) in enumerate(SHARDS):
            yield Unit(
                "attack",
                {
                    "model": "demo",
                    "attack": attack,
                    "configuration": {**CONFIGURATIONS[attack], parameter: budget, "seed": seed},
                    "budget": budget,
                    "seed": seed,
                    "shard": shard,
                    "first": first,
                    "last": last,
                },
            )


CHECKS = [
    ("C1", "The model returns logits", "passed", "No output of 200 images is a probability."),
    ("C2", "The model is deterministic", "passed", "Five passes gave the same answers."),
    ("C3", "Gradients exist", "passed", "The gradient is non-zero for all 200 images."),
    ("C9", "The search has converged", "passed", "Twice the steps fool 1 image more (0.5 %)."),
    ("C10", "Worst case per example", "passed", "The report counts it."),
    ("C12", "Budgets hold", "passed", "No image leaves its budget, measured in float32."),
    ("C13", "Success is verified again", "not run", "Images were not written to files."),
]


def make_store(path, *, model="examples.chest:network", checks=CHECKS, attacks=("pgd", "bias-field"), skip=0):
    units = [unit for attack in attacks for unit in attack_units(attack)]
    check_unit = Unit("check", {"model": model})
    plan = {
        "medadv": "0.1.0",
        "created": "2026-11-22T08:00:00+00:00",
        "model": {"source": model, "sha256": "ab" * 32, "task": "multiclass"},
        "data": {
            "path": "chest-films/",
            "sha256": "cd" * 32,
            "count": COUNT,
            "class_names": CLASSES,
            "shape": [1, 64, 64],
        },
        "attacks": [
            {"name": name, "configuration": CONFIGURATIONS[name], "budgets": BUDGETS[name]} for name in attacks
        ],
        "seed": 0,
        "shards": SHARDS,
        "versions": {"torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7", "device": "cpu"},
        "units": [unit.id for unit in [*units, check_unit]],
    }
    store = Store.create(path, plan)
    for unit in units[: len(units) - skip]:
        fields = (unit.fields["attack"], unit.fields["budget"], unit.fields["first"], unit.fields["last"])
        store.commit(unit, attack_columns(*fields), attack_artifacts(*fields), {"seconds": 1.25})
    if checks:
        names = ("check", "title", "outcome", "sentence")
        columns = {name: [check[place] for check in checks] for place, name in enumerate(names)}
        store.commit(check_unit, columns, None, {"seconds": 0.5})
    return store


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("report") / "sweep")


@pytest.fixture(scope="session")
def made():
    """This module: the truth behind the fixture, and `make_store` for tests that need another store."""
    return sys.modules[__name__]
