"""Model calls of a curve of eight budgets and four attacks, and whether it is the same to the example.

``python -m benchmarks.budget_curves [--images 128] [--name budget-curves]``

A call is one image shown to the network, or one gradient taken. Four ways to the worst case of each image over the
attacks at each budget:

- separate: every attack at every budget on all images, 32 runs;
- ensemble: one run per budget, each attack on what withstood those before it, 8 runs;
- rising: `budget_curve`, an image that broke is not attacked at larger budgets;
- falling: `budget_curve(falling=True)`, an image that withstood is not attacked at smaller budgets.

An image is broken at a budget where an image within it was found that fools the network: by a run at this budget or
at a smaller one. Cells are pairs of an image and a budget; those of "falling" are compared with those of "separate".
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch
from torch import Tensor

from benchmarks.attack_networks import NETWORKS, Trained
from benchmarks.attack_run import Counting
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances
from medadv.attacks import APGD, PGD, Ensemble, Square, budget_curve
from medadv.models import Victim
from medadv.objectives import DLR

ATTACKS = Ensemble((PGD(steps=20), APGD(steps=50), APGD(steps=50, objective=DLR()), Square(queries=100)))
BUDGETS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the model calls of budget curves.")
    parser.add_argument("--images", type=int, default=128, help="how many images are attacked (default 128)")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in ("digits 32", "digits 32, undefended"):
        rows += measured(name, NETWORKS[name](arguments.images))
        print(table(rows[-4:]), flush=True)
    if arguments.name:
        path = ROOT / "results" / f"{arguments.name}.json"
        path.write_text(json.dumps({**circumstances(ATTACK_PEERS), "rows": rows}, indent=1) + "\n")


def measured(network: str, trained: Trained) -> list[dict]:
    """One row per way."""
    budgets = [trained.eps["linf"] * number / 4 for number in range(1, BUDGETS + 1)]
    ways = {"separate": separate, "ensemble": ensemble, "rising": rising, "falling": falling}
    rows, broken = [], {}
    for way, run in ways.items():
        counting = Counting(trained.network).eval()
        start = time.process_time()
        broken[way] = run(budgets, Victim(counting), trained.images, trained.targets)
        rows.append(
            {
                "network": network,
                "way": way,
                "forwards": counting.shown / len(trained.images),
                "backwards": counting.differentiated / len(trained.images),
                "seconds": time.process_time() - start,
                "robust_accuracy": (~broken[way]).double().mean(1).tolist(),
                "cells": broken[way].numel(),
                "broken_only_here": int((broken[way] & ~broken["separate"]).sum()),
                "broken_only_when_separate": int((broken["separate"] & ~broken[way]).sum()),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def separate(budgets: list[float], victim: Victim, images: Tensor, targets: Tensor) -> Tensor:
    """bool [budgets, N]: broken at this budget or at a smaller one."""
    found = [
        torch.stack([each.with_budget(budget)(victim, images, targets).success for each in ATTACKS.attacks]).any(0)
        for budget in budgets
    ]
    return torch.stack(found).cummax(0).values


def ensemble(budgets: list[float], victim: Victim, images: Tensor, targets: Tensor) -> Tensor:
    found = [ATTACKS.with_budget(budget)(victim, images, targets).success for budget in budgets]
    return torch.stack(found).cummax(0).values


def rising(budgets: list[float], victim: Victim, images: Tensor, targets: Tensor) -> Tensor:
    return torch.stack([result.success for result in budget_curve(ATTACKS, budgets, victim, images, targets)])


def falling(budgets: list[float], victim: Victim, images: Tensor, targets: Tensor) -> Tensor:
    curve = budget_curve(ATTACKS, budgets, victim, images, targets, falling=True)
    return torch.stack([result.success for result in curve])


def table(rows: list[dict]) -> str:
    """Markdown: one line per way."""
    lines = [
        "| network | way | forwards | backwards | calls | fewer than separate | fewer than ensemble | CPU s "
        "| cells that differ |",
        "| --- " * 9 + "|",
    ]
    calls = [row["forwards"] + row["backwards"] for row in rows]
    for row, count in zip(rows, calls, strict=True):
        differ = row["broken_only_here"] + row["broken_only_when_separate"]
        lines.append(
            f"| {row['network']} | {row['way']} | {row['forwards']:.0f} | {row['backwards']:.0f} | {count:.0f} "
            f"| {calls[0] / count:.2f}x | {calls[1] / count:.2f}x | {row['seconds']:.1f} "
            f"| {differ} of {row['cells']} ({row['broken_only_here']} more broken) |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
