"""What it saves to pack survivors anew: an attack over all images, or batch after batch.

``python -m benchmarks.packing [--images 256] [--name packing]``

The same attack on the same images, the network shown at most a batch at once either way; processor time of one thread,
the least of three rounds in turns, and how often the network was called. Outcomes are compared image by image: a
network may round differently in a batch of another size.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.attack_cases import Case, attack_of
from benchmarks.attack_networks import NETWORKS, Trained
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances
from medadv.attacks import APGD, FGSM, MIFGSM, PGD, BaseAttack, BudgetedAttack, DeepFool, Result, Square
from medadv.attacks.transfer import transferred
from medadv.models import Victim

# With the network that transferred attacks are made on.
COMPARED_ON = {"digits 32": "digits 32, undefended", "digits 32, undefended": "digits 32"}
BATCHES = (8, 64)
ROUNDS = 3
AUTO_ATTACK_STEPS = 10


class Calls(nn.Module):
    """Counts how often it is called."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.count = 0

    def forward(self, images: Tensor) -> Tensor:
        self.count += 1
        return self.module(images)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what packing survivors anew saves.")
    parser.add_argument("--images", type=int, default=256, help="how many images are attacked (default 256)")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for network, other in COMPARED_ON.items():
        trained = NETWORKS[network](arguments.images)
        jobs = [(name, attack, None) for name, attack in attacks(trained).items()]
        surrogate = NETWORKS[other](arguments.images).network
        jobs += [(f"transfer-{name}", attack, surrogate) for name, attack in transfers(trained).items()]
        for name, attack, made_on in jobs:
            for size in BATCHES:
                rows.append({"network": network, "attack": name, **compared(attack, trained, size, made_on)})
    print(table(rows))
    if arguments.name:
        facts = circumstances(ATTACK_PEERS)
        (ROOT / "results" / f"{arguments.name}.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")


def attacks(trained: Trained) -> dict[str, BaseAttack]:
    """By name: within a budget, AutoAttack with fewer steps, and one that looks for the smallest change."""
    eps = trained.eps["linf"]
    return {
        "pgd": PGD(eps, steps=20),
        "apgd": APGD(eps, steps=50),
        "square": Square(eps, queries=100),
        "autoattack": attack_of(Case("autoattack", "linf", AUTO_ATTACK_STEPS, eps, trained.classes)),
        "deepfool": DeepFool("l2"),
    }


def transfers(trained: Trained) -> dict[str, BudgetedAttack]:
    """By name: attacks that are made on another network, one until that is fooled, others beyond."""
    eps = trained.eps["linf"]
    return {
        "pgd": PGD(eps, steps=20),
        "pgd to the end": PGD(eps, steps=20, stop_early=False),
        "mi-fgsm": MIFGSM(eps, stop_early=False),
        "fgsm": FGSM(eps, stop_early=False),
    }


def compared(attack: BaseAttack, trained: Trained, size: int, made_on: nn.Module | None = None) -> dict:
    """Seconds and calls either way, and how many images ended otherwise."""
    calls = Calls(trained.network).eval()
    of_surrogate = None if made_on is None else Calls(made_on).eval()
    victim, images, targets = Victim(calls), trained.images, trained.targets
    surrogate = None if of_surrogate is None else Victim(of_surrogate)
    logits = victim.clean_logits(images, targets)
    known = None if surrogate is None else surrogate.clean_logits(images, targets)

    def run(rows: Tensor, at_once: int) -> Result:
        shown, given = victim.in_batches_of(at_once), (images[rows], targets[rows], rows, logits[rows])
        if surrogate is None:
            return attack.run(shown, *given)
        others = None if known is None else known[rows]
        return transferred(attack, surrogate.in_batches_of(at_once), shown, *given, surrogate_logits=others)

    def apart() -> Tensor:
        return torch.cat([run(rows, size).success for rows in torch.arange(len(images)).split(size)])

    def packed() -> Tensor:
        return run(torch.arange(len(images)), size).success

    row: dict = {"batch": size, "images": len(images)}
    found = {}
    for _ in range(ROUNDS):
        for way in (apart, packed):
            counted = [each for each in (calls, of_surrogate) if each is not None]
            for each in counted:
                each.count = 0
            seconds, found[way] = timed(way)
            name = way.__name__
            row[f"calls_{name}"] = sum(each.count for each in counted)
            row[f"seconds_{name}"] = min(seconds, row.get(f"seconds_{name}", seconds))
    row["differ"] = int((found[apart] != found[packed]).sum())
    return row


def timed(way: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    found = way()
    return time.process_time() - start, found


def table(rows: list[dict]) -> str:
    """Markdown: one line per network, attack and batch."""
    lines = [
        "| network | attack | batch | calls, apart | calls, packed | CPU s, apart | CPU s, packed | faster "
        "| outcomes that differ |",
        "| --- " * 9 + "|",
    ]
    for row in rows:
        lines.append(
            f"| {row['network']} | {row['attack']} | {row['batch']} | {row['calls_apart']} | {row['calls_packed']} "
            f"| {row['seconds_apart']:.2f} | {row['seconds_packed']:.2f} "
            f"| {row['seconds_apart'] / row['seconds_packed']:.2f}x | {row['differ']} of {row['images']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
