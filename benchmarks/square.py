"""How many images Square fools beside torchattacks' Square, over several seeds.

``python -m benchmarks.square --peers DIR --name parity-square [--images 240] [--seeds 6]``

The network, the images and the counting are those of `benchmarks.parity`. One seed says little: torchattacks moves all
images of a batch by the same squares, so that its successes rise and fall together.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.compare import ROOT, circumstances
from benchmarks.parity import QUERIES, SQUARE_EPS, SQUARE_L2_EPS, Attack, attacked, import_peers, ours, trained
from medadv.attacks import Square
from medadv.data import chest_phantoms

EPS = {"linf": SQUARE_EPS, "l2": SQUARE_L2_EPS}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare Square with torchattacks'.")
    parser.add_argument("--peers", type=Path, help="where torchattacks is installed; without it, medadv alone")
    parser.add_argument("--images", type=int, default=240, help="how many images are attacked (default 240)")
    parser.add_argument("--seeds", type=int, default=6, help="how many seeds (default 6)")
    parser.add_argument("--norm", choices=EPS, help="one norm alone")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = trained()
    data = chest_phantoms(2 * arguments.images, size=32, seed=1)
    images, targets = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    with torch.no_grad():
        right = network(images).argmax(1) == targets
    images, targets = images[right][: arguments.images], targets[right][: arguments.images]
    rows = []
    for norm in [arguments.norm] if arguments.norm else EPS:
        for name, kind in contenders(norm, arguments.peers).items():
            runs = [attacked(kind(seed), norm, network, images, targets) for seed in range(arguments.seeds)]
            rows.append({"norm": norm, "contender": name, "images": len(images), **summary(runs)})
            print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if arguments.name:
        path = ROOT / "results" / f"{arguments.name}.json"
        path.write_text(json.dumps({**circumstances(), "rows": rows}, indent=1) + "\n")


def contenders(norm: str, peers: Path | None) -> dict[str, Callable[[int], Attack]]:
    """By name, from a seed to an attack with that seed."""
    found: dict[str, Callable[[int], Attack]] = {
        "medadv": lambda seed: ours(Square(EPS[norm], norm, queries=QUERIES, seed=seed))
    }
    if peers is not None:
        import_peers(peers)
        import torchattacks

        options = {"norm": norm.capitalize(), "eps": EPS[norm], "n_queries": QUERIES}
        found["torchattacks"] = lambda seed: (
            lambda network, x, y: torchattacks.Square(network, seed=seed, **options)(x, y)
        )
    return found


def summary(runs: list[dict]) -> dict:
    """Means over the seeds, and the standard error of the success."""
    success = [run["success"] for run in runs]
    spread = statistics.stdev(success) / len(success) ** 0.5 if len(success) > 1 else 0.0
    means = {name: statistics.mean(run[name] for run in runs) for name in ("success", "forwards", "seconds")}
    return {**means, "standard_error": spread, "successes": success}


def table(rows: list[dict]) -> str:
    """Markdown: one line per norm and contender."""
    lines = ["| norm | contender | success | standard error | forwards | seconds |", "| --- " * 6 + "|"]
    for row in rows:
        lines.append(
            f"| {row['norm']} | {row['contender']} | {row['success']:.3f} | {row['standard_error']:.3f} "
            f"| {row['forwards']:.0f} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
