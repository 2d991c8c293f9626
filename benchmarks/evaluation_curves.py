"""Model calls of an evaluation of four attacks at eight budgets, whose budgets rise or fall; and whether they agree.

``python -m benchmarks.evaluation_curves [--images 64] [--name evaluation-curves]``

A call is one image shown to the network, or one gradient taken, by the attacks or by the trust checks. Cells are
triples of an attack, a budget and an image; they differ where the image is broken in one evaluation only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.attack_networks import NETWORKS, Trained
from benchmarks.attack_run import Counting
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances
from medadv.attacks import APGD, PGD, Square
from medadv.data import ImageSet
from medadv.models import Victim
from medadv.objectives import DLR
from medadv.sweep import Store
from medadv.sweep.evaluate import evaluate
from medadv.sweep.plan import Curve, Evaluation
from medadv.sweep.progress import Progress

ATTACKS = {
    "pgd": PGD(steps=20),
    "apgd": APGD(steps=50),
    "apgd:objective=dlr": APGD(steps=50, objective=DLR()),
    "square": Square(queries=100),
}
BUDGETS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the model calls of an evaluation.")
    parser.add_argument("--images", type=int, default=64, help="how many images are attacked (default 64)")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in ("digits 32", "digits 32, undefended"):
        rows += measured(name, NETWORKS[name](arguments.images))
        print(table(rows[-2:]), flush=True)
    if arguments.name:
        path = ROOT / "results" / f"{arguments.name}.json"
        path.write_text(json.dumps({**circumstances(ATTACK_PEERS), "rows": rows}, indent=1) + "\n")


def measured(network: str, trained: Trained) -> list[dict]:
    """One row for rising and one for falling budgets."""
    stores, rows = {}, []
    for way in ("rising", "falling"):
        counting = Counting(trained.network).eval()
        at_the_checks = []

        def progress(now: Progress, counting: Counting = counting, seen: list = at_the_checks) -> None:
            if now.doing.startswith("check "):
                seen.append((counting.shown, counting.differentiated))

        with tempfile.TemporaryDirectory() as folder:
            store = evaluate(evaluation(trained, counting, way), Path(folder) / "out", progress=progress)
            stores[way] = broken(store)
            checks = store.query("SELECT \"check\", sentence FROM rows WHERE outcome = 'failed'", kind="check")
        forwards, backwards = (count / len(trained.images) for count in at_the_checks[0])
        rows.append(
            {
                "network": network,
                "way": way,
                "forwards": forwards,
                "backwards": backwards,
                "calls_with_checks": (counting.shown + counting.differentiated) / len(trained.images),
                "cells": len(stores[way]),
                "broken": int(stores[way].sum()),
                "broken_only_here": int((stores[way] & ~stores["rising"]).sum()),
                "broken_only_when_rising": int((~stores[way] & stores["rising"]).sum()),
                "failed_checks": dict(zip(checks["check"].tolist(), checks["sentence"].tolist(), strict=True)),
            }
        )
    return rows


def evaluation(trained: Trained, network: torch.nn.Module, way: str) -> Evaluation:
    budgets = tuple(trained.eps["linf"] * number / 4 for number in range(1, BUDGETS + 1))
    names = tuple(f"{number}" for number in range(len(trained.images)))
    classes = tuple(f"{number}" for number in range(trained.classes))
    data = ImageSet(trained.images.numpy(), trained.targets.numpy(), names, classes)
    curves = tuple(Curve(attack, budgets, label) for label, attack in ATTACKS.items())
    return Evaluation(Victim(network), "benchmark", data, "benchmark", curves, falling=way == "falling")


def broken(store: Store) -> np.ndarray:
    """Whether each cell is broken, in one order."""
    rows = store.query(
        "SELECT status = 'success' AS broken FROM rows JOIN units USING (unit) ORDER BY attack, budget, example",
        kind="attack",
    )
    return rows["broken"].astype(bool)


def table(rows: list[dict]) -> str:
    """Markdown: one line per way."""
    lines = [
        "| network | budgets | forwards | backwards | calls | fewer | with trust checks | cells that differ | failed |",
        "| --- " * 9 + "|",
    ]
    calls = [row["forwards"] + row["backwards"] for row in rows]
    for row, count in zip(rows, calls, strict=True):
        differ = row["broken_only_here"] + row["broken_only_when_rising"]
        lines.append(
            f"| {row['network']} | {row['way']} | {row['forwards']:.0f} | {row['backwards']:.0f} | {count:.0f} "
            f"| {calls[0] / count:.2f}x | {row['calls_with_checks']:.0f} "
            f"| {differ} of {row['cells']} ({row['broken_only_here']} more broken) "
            f"| {', '.join(row['failed_checks']) or 'none'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
