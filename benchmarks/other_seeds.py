"""Whether a difference to a peer is the network's chance: an attack on networks trained from other random weights.

``python -m benchmarks.other_seeds [--network "chest X-rays 32"] [--case "fab l1"] [--seeds 1 2 3] [--save]``

As in `benchmarks.parity`, whose network has the seed 0: robust accuracy of attacks that minimise the norm is at the
median distance of the nearest images of a network. Differences are image by image, ours less the peer's, with the
standard error over the images; the last line has their mean over the networks, with the standard error over those. The
networks share their training and test images.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys

import torch
from torch import Tensor

from benchmarks.attack_networks import SEEDED
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances
from benchmarks.parity import budget, cases, contenders

HEAD = ("seed", "peer", "images", "robust accuracy: medadv", "peer", "difference", "nearest half, distance", "all")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare an attack with peers on networks of several seeds.")
    parser.add_argument("--images", type=int, default=300, help="at most how many images are attacked (default 300)")
    parser.add_argument("--network", choices=SEEDED, default="chest X-rays 32", help="default: chest X-rays 32")
    parser.add_argument("--case", default="fab l1", help="attack and norm (default fab l1)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 7)), help="of the networks (default 1-6)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/seeds-CASE-NETWORK.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = circumstances(ATTACK_PEERS)
    rows: list[dict] = []
    for seed in arguments.seeds:
        try:
            trained = SEEDED[arguments.network](arguments.images, seed)
        except FileNotFoundError as error:
            print(f"{arguments.network}: no data: {error}", file=sys.stderr)
            return
        (case,) = (case for case in cases(trained) if case.name.startswith(f"{arguments.case},"))
        found = {name: run["distances"] for name, run in contenders(case, trained).items()}
        eps = budget(case, list(found.values()))
        shared = {"network": arguments.network, "case": case.name, "seed": seed, "eps": eps}
        new = [{**shared, "peer": name, **beside(found["medadv"], found[name], eps)} for name in list(found)[1:]]
        rows += new
        print(*new, sep="\n", file=sys.stderr, flush=True)
        if arguments.save:
            words = f"seeds-{arguments.case}-{arguments.network}".lower().replace(",", "").replace(" ", "-")
            (ROOT / "results" / f"{words}.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
    print(table(rows))


def beside(ours: Tensor, peers: Tensor, eps: float) -> dict:
    """Ours less the peer's, with standard errors.

    Args:
        ours, peers: distances [N] of the images that they found, infinite of those that are still right.
        eps: the budget at which robust accuracy is told.

    Returns:
        Robust accuracies and their difference; and the mean of log(ours / peer's) over the images that both broke, and
        over those of them that are within the budget of either.
    """
    robust, withstands = (ours > eps * (1 + 1e-3)).double(), (peers > eps * (1 + 1e-3)).double()
    both = ours.isfinite() & peers.isfinite()
    near = both & (torch.minimum(ours, peers) <= eps)
    ratio = (ours / peers).log()
    row: dict = {"images": len(ours), "broken": int(ours.isfinite().sum()), "peer_broken": int(peers.isfinite().sum())}
    row |= {"robust_accuracy": float(robust.mean()), "peer_robust_accuracy": float(withstands.mean())}
    for key, values in (("robust", robust - withstands), ("near", ratio[near]), ("all", ratio[both])):
        row |= {key: float(values.mean()), f"{key}_error": float(values.std() / math.sqrt(len(values)))}
    return row


def table(rows: list[dict]) -> str:
    """Markdown: one line per network and peer; distances as a share, negative where ours are nearer."""
    lines = [f"| {' | '.join(HEAD)} |", "| --- " * len(HEAD) + "|"]
    for row in rows:
        cells = [str(row["seed"]), row["peer"], str(row["images"])]
        cells += [f"{row['robust_accuracy']:.3f}", f"{row['peer_robust_accuracy']:.3f}"]
        lines.append(f"| {' | '.join([*cells, *differences(row)])} |")
    for peer in dict.fromkeys(row["peer"] for row in rows):
        same = [row for row in rows if row["peer"] == peer]
        if len(same) < 2:
            continue
        cells = [f"all {len(same)}", peer, str(sum(row["images"] for row in same))]
        cells += [
            f"{statistics.mean(row[key] for row in same):.3f}" for key in ("robust_accuracy", "peer_robust_accuracy")
        ]
        lines.append(f"| {' | '.join([*cells, *differences(over_networks(same))])} |")
    return "\n".join(lines)


def over_networks(rows: list[dict]) -> dict:
    """Mean difference over at least two networks, with the standard error over them."""
    found = {}
    for key in ("robust", "near", "all"):
        values = [row[key] for row in rows]
        found |= {key: statistics.mean(values), f"{key}_error": statistics.stdev(values) / math.sqrt(len(values))}
    return found


def differences(row: dict) -> list[str]:
    near, every = (f"{row[key]:+.1%} ± {row[f'{key}_error']:.1%}" for key in ("near", "all"))
    return [f"{row['robust']:+.4f} ± {row['robust_error']:.4f}", near, every]


if __name__ == "__main__":
    main()
