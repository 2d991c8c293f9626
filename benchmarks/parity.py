"""How good the attacks are beside their peers: the same images, networks, norms, budgets, steps and constants.

``python -m benchmarks.parity [--images 200] [--network "digits 32"] [--only fab] [--name parity]``

Every image that an attack returns is shown to the network again, and its distance is measured in float64, whatever the
attack says of it. Images are those that the network gets right. Robust accuracy is at the budget of the attack; of
attacks that minimise the norm, at the median distance of the nearest images of a case, so that differences show. The
mean distance is over the images that every contender broke. Libraries that are not installed are left out:
``benchmarks/requirements-attacks.txt``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys

import torch
from torch import Tensor

from benchmarks import attack_peers
from benchmarks.attack_cases import TRANSFER, Case, ours
from benchmarks.attack_networks import NETWORKS, Trained
from benchmarks.attack_run import attacked
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances

QUERIES = 500
COMPARED_ON = ("digits 32", "phantoms 32", "chest X-rays 64")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare attacks with peers.")
    parser.add_argument("--images", type=int, default=200, help="how many images are attacked (default 200)")
    parser.add_argument("--network", choices=NETWORKS, help="one network (default: all that data are there for)")
    parser.add_argument("--only", default="", help="a word in the name of the case, such as fab")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json and NAME.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for network in [arguments.network] if arguments.network else COMPARED_ON:
        try:
            trained = NETWORKS[network](arguments.images)
        except FileNotFoundError as error:
            print(f"{network}: no data: {error}", file=sys.stderr)
            continue
        print(f"{network}: accuracy {trained.accuracy:.3f}, {len(trained.images)} images", file=sys.stderr)
        for case in cases(trained):
            if arguments.only in case.name:
                rows += compared(network, case, trained)
    print(table(rows))
    if arguments.name:
        facts = circumstances(ATTACK_PEERS)
        (ROOT / "results" / f"{arguments.name}.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
        (ROOT / "results" / f"{arguments.name}.md").write_text(table(rows) + "\n")


def compared(network: str, case: Case, trained: Trained) -> list[dict]:
    """One row per contender."""
    found = {}
    for name, attack in {"medadv": ours(case), **attack_peers.attacks(case)}.items():
        try:
            found[name] = attacked(attack, case.norm, trained.network, trained.images, trained.targets)
        except Exception as error:  # a peer that cannot run is a finding, too
            print(f"{case.name}: {name} stopped: {type(error).__name__}: {error}", file=sys.stderr)
    distances = {name: row.pop("distances") for name, row in found.items()}
    by_all = torch.stack(list(distances.values())).isfinite().all(0)
    eps = budget(case, list(distances.values()))
    rows = []
    for name, row in found.items():
        mean = float(distances[name][by_all].mean()) if bool(by_all.any()) else math.nan
        robust = float((distances[name] > eps * (1 + 1e-3)).double().mean())
        rows.append({"network": network, "case": case.name, "norm": case.norm, "contender": name, **row})
        rows[-1] |= {"mean_distance": mean, "eps": eps, "robust_accuracy": robust}
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def budget(case: Case, distances: list[Tensor]) -> float:
    """At which robust accuracy is compared, in image units."""
    return float(torch.stack(distances).amin(0).median()) if case.eps is None else case.eps


def cases(trained: Trained) -> list[Case]:
    """What is compared on a network, budgets where it breaks a part of the images."""
    eps, classes = trained.eps, trained.classes
    norms = ("linf", "l2", "l1")
    budgeted = [
        ("fgsm", "linf", 1),
        *(("pgd", norm, 20) for norm in norms),
        *((kind, "linf", 10) for kind in TRANSFER),
        *(("apgd-ce", norm, 50) for norm in norms),
        *(("apgd-dlr", norm, 50) for norm in norms if classes > 2),
        *(("apgd-t", norm, 30) for norm in ("linf", "l2") if classes > 3),
        ("autoattack", "linf", 30),
        *(("square", norm, QUERIES) for norm in ("linf", "l2")),
    ]
    minimum_norm = [
        *(("deepfool", norm, 50) for norm in ("l2", "linf")),
        # A step of FAB costs a gradient per class.
        *((kind, norm, 20 if classes > 3 else 100) for kind in ("fab", "fab-t") for norm in norms),
        *(("fmn", norm, 100) for norm in norms),
        ("ddn", "l2", 100),
        ("carlini-wagner", "l2", 100),
        ("hop-skip-jump", "l2", 10),
    ]
    return [
        *(Case(kind, norm, steps, eps[norm], classes) for kind, norm, steps in budgeted),
        *(Case(kind, norm, steps, None, classes, searches=5) for kind, norm, steps in minimum_norm),
    ]


def table(rows: list[dict]) -> str:
    """Markdown: one line per contender; how far ours are behind the best of a case is in the last two columns."""
    lines = [
        "| network | case | contender | success | robust accuracy | mean distance | forwards | backwards | seconds "
        "| behind: robust accuracy | behind: distance |",
        "| --- " * 11 + "|",
    ]
    for row in rows:
        case = [other for other in rows if (other["network"], other["case"]) == (row["network"], row["case"])]
        behind = [f"{row[key] - min(other[key] for other in case):.4f}" for key in ("robust_accuracy", "mean_distance")]
        lines.append(
            f"| {row['network']} | {row['case']} | {row['contender']} | {row['success']:.3f} "
            f"| {row['robust_accuracy']:.3f} | {row['mean_distance']:.4f} | {row['forwards']:.0f} "
            f"| {row['backwards']:.0f} | {row['seconds']:.1f} | {' | '.join(behind)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
