"""How good the attacks are beside their peers: the same images, networks, norms, budgets, steps and constants.

``python -m benchmarks.parity [--images 200] [--network "digits 32"] [--only fab] [--seeds 5] [--save]``

Every image that an attack returns is shown to the network again, and its distance is measured in float64, whatever the
attack says of it. Images are those that the network gets right. Robust accuracy is at the budget of the attack; of
attacks that minimise the norm, at the median distance of the nearest images of a case, so that differences show. The
mean distance is over the images that every contender broke. Libraries that are not installed are left out:
``benchmarks/requirements-attacks.txt``. The page of what was saved: ``python -m benchmarks.parity_summary``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import attack_peers
from benchmarks.attack_cases import TRANSFER, Attack, Case, ours
from benchmarks.attack_networks import NETWORKS, Trained
from benchmarks.attack_run import attacked
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances

QUERIES = (500, 2000)
MINIMUM_NORM = ("deepfool", "fab", "fab-t", "fmn", "ddn", "carlini-wagner", "hop-skip-jump")
BEHIND, FARTHER = 0.01, 0.001  # in robust accuracy, and as a share of the distance: more is worth a look
COMPARED_ON = ("digits 32", "phantoms 32", "chest X-rays 64")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare attacks with peers.")
    parser.add_argument("--images", type=int, default=200, help="how many images are attacked (default 200)")
    parser.add_argument("--network", choices=NETWORKS, help="one network (default: all that data are there for)")
    parser.add_argument("--only", default="", help="a word in the name of the case, such as fab")
    parser.add_argument("--seeds", type=int, default=1, help="how often, with other random numbers (default 1)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/parity-NETWORK.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = circumstances(ATTACK_PEERS)
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
                found = compared(network, case, trained, arguments.seeds)
                rows += found
                if arguments.save:
                    save(ROOT / "results", "parity", network, found, facts)
    print(table(rows))


def compared(network: str, case: Case, trained: Trained, seeds: int = 1) -> list[dict]:
    """One row per contender that ran with every seed."""
    runs = [contenders(replace(case, seed=seed), trained) for seed in range(seeds)]
    names = [name for name in runs[0] if all(name in run for run in runs)]
    eps = budget(case, [run[name]["distances"] for run in runs for name in names])
    by_all = [torch.stack([run[name]["distances"] for name in names]).isfinite().all(0) for run in runs]
    rows = []
    for name in names:
        distances = [run[name]["distances"] for run in runs]
        robust = [float((found > eps * (1 + 1e-3)).double().mean()) for found in distances]
        mean = [float(found[kept].mean()) for found, kept in zip(distances, by_all, strict=True)]  # nan of no image
        row = {"network": network, "case": case.name, "norm": case.norm, "contender": name, "eps": eps}
        row |= {"images": len(trained.images), "inside_bounds": all(run[name]["inside_bounds"] for run in runs)}
        for key in ("success", "forwards", "backwards", "seconds"):
            row[key] = statistics.mean(run[name][key] for run in runs)
        row |= {"robust_accuracy": statistics.mean(robust), "mean_distance": statistics.mean(mean)}
        row |= {"robust_accuracies": robust, "mean_distances": mean}
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    return rows


def contenders(case: Case, trained: Trained) -> dict[str, dict]:
    """What each attack did, by name, of those that could run."""
    found = {}
    for name, attack in {"medadv": ours(case), **attack_peers.attacks(case)}.items():
        try:
            attack = seeded(attack, case.seed)
            found[name] = attacked(attack, case.norm, trained.network, trained.images, trained.targets)
        except Exception as error:  # a peer that cannot run is a finding, too
            print(f"{case.name}: {name} stopped: {type(error).__name__}: {error}", file=sys.stderr)
    return found


def seeded(attack: Attack, seed: int) -> Attack:
    """The attack, with the seed for libraries that take random numbers from torch's or NumPy's generator."""

    def run(network: torch.nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        torch.manual_seed(seed)
        np.random.seed(seed)
        return attack(network, images, targets)

    return run


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
        *(("square", norm, queries) for norm in ("linf", "l2") for queries in QUERIES),
    ]
    minimum_norm = [  # of MINIMUM_NORM
        *(("deepfool", norm, 50) for norm in ("l2", "linf")),
        # A step of FAB costs a gradient per class.
        *((kind, norm, 20 if classes > 3 else 100) for kind in ("fab", "fab-t") for norm in norms),
        *(("fmn", norm, 100) for norm in norms),
        ("ddn", "l2", 100),
        ("carlini-wagner", "l2", 100),
        *(("hop-skip-jump", norm, 10) for norm in ("l2", "linf")),
    ]
    return [
        *(Case(kind, norm, steps, eps[norm], classes) for kind, norm, steps in budgeted),
        *(Case(kind, norm, steps, None, classes, searches=5) for kind, norm, steps in minimum_norm),
    ]


def save(folder: Path, kind: str, network: str, rows: list[dict], facts: dict) -> None:
    """Rows of one case, in the place of older ones; rows of other cases stay, with the commit they are of."""
    path = folder / f"{kind}-{network.lower().replace(' ', '-').replace(',', '')}.json"
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    replaced = {row["case"] for row in rows}
    new = [{**row, "commit": facts["commit"][:7]} for row in rows]
    rows = [*(row for row in kept if row["case"] not in replaced), *new]
    path.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")


def table(rows: list[dict]) -> str:
    """Markdown: one line per contender; how far each is behind the best of a case is in the last two columns."""
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
