"""Every kind of attack at four budgets that rise and that fall: do they break the same images, and for how many calls?

``python -m benchmarks.falling_attacks [--images 48] [--name falling-attacks]``

On generated chest films of 32 x 32. A call is one image shown to the network, or one gradient taken; a cell is a pair
of an image and a budget.
"""

from __future__ import annotations

import argparse
import json

import torch

from benchmarks.attack_networks import Trained, small_phantoms
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances
from medadv.attacks import (
    APGD,
    DIFGSM,
    PGD,
    AdversarialSmoothBiasField,
    AffineAttack,
    BiasFieldAttack,
    BudgetedAttack,
    ChainAttack,
    DeformationAttack,
    FlowAttack,
    FrequencyAttack,
    IntensityAttack,
    Result,
    Square,
    budget_curve,
)
from medadv.models import Victim

NOISE = (0.005, 0.01, 0.02, 0.04)
GAINS = (1.1, 1.2, 1.4, 1.8)
SHARES = (0.25, 0.5, 0.75, 1.0)
ATTACKS: list[tuple[BudgetedAttack, tuple[float, ...]]] = [
    (PGD(), NOISE),
    (APGD(steps=20), NOISE),
    (DIFGSM(), NOISE),
    (Square(queries=100), NOISE),
    (BiasFieldAttack(), GAINS),
    (AdversarialSmoothBiasField(), GAINS),
    (DeformationAttack(), (0.5, 1.0, 2.0, 3.0)),
    (FlowAttack(), (0.1, 0.25, 0.5, 1.0)),
    (IntensityAttack(), (1.05, 1.1, 1.2, 1.5)),
    (FrequencyAttack(), (10.0, 20.0, 40.0, 80.0)),
    (AffineAttack(), SHARES),
    (ChainAttack(), (0.1, 0.25, 0.5, 1.0)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare budgets that rise and fall.")
    parser.add_argument("--images", type=int, default=48, help="how many images are attacked (default 48)")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trained = small_phantoms(arguments.images)
    print("| attack | broken | rising alone | falling alone | calls, rising | falling | fewer |")
    print("| --- " * 7 + "|")
    rows = []
    for attack, budgets in ATTACKS:
        rows.append(measured(attack, budgets, trained))
        print(line(rows[-1]), flush=True)
    if arguments.name:
        path = ROOT / "results" / f"{arguments.name}.json"
        path.write_text(json.dumps({**circumstances(ATTACK_PEERS), "rows": rows}, indent=1) + "\n")


def measured(attack: BudgetedAttack, budgets: tuple[float, ...], trained: Trained) -> dict:
    given = attack, budgets, Victim(trained.network), trained.images, trained.targets
    rising, falling = budget_curve(*given), budget_curve(*given, falling=True)
    one, other = (torch.stack([result.success for result in curve]) for curve in (rising, falling))
    return {
        "attack": attack.name,
        "budgets": list(budgets),
        "broken": one.sum(dim=1).tolist(),
        "cells": one.numel(),
        "rising_alone": int((one & ~other).sum()),
        "falling_alone": int((other & ~one).sum()),
        "calls_rising": _calls(rising, kept=True),
        "calls_falling": _calls(falling, kept=False),
    }


def _calls(curve: list[Result], kept: bool) -> int:
    """Passes of all budgets; `kept`: rows that broke at a smaller budget repeat its passes."""
    made = torch.ones_like(curve[0].success)
    total = 0
    for result in curve:
        total += int((result.forwards + result.backwards)[made].sum())
        made = result.robust if kept else made
    return total


def line(row: dict) -> str:
    broken = ", ".join(map(str, row["broken"]))
    return (
        f"| {row['attack']} | {broken} | {row['rising_alone']} of {row['cells']} | {row['falling_alone']} "
        f"| {row['calls_rising']} | {row['calls_falling']} | {row['calls_rising'] / row['calls_falling']:.2f}x |"
    )


if __name__ == "__main__":
    main()
