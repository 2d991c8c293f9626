"""How near attacks that see answers alone come with so many queries, beside their peers.

``python -m benchmarks.query_curves [--images 100] [--network "digits 32"] [--norm l2] [--save]``

Libraries differ in the queries of a step, so steps are no measure here. Images are attacked one at a time, each query
is an image shown to the network, and what counts is the nearest image shown so far that the network got wrong, whether
the attack would return it or not. The mean distance is over the images for which every contender had one by then.
"""

from __future__ import annotations

import argparse
import math
import sys

import torch
from torch import Tensor, nn

from benchmarks import attack_peers
from benchmarks.attack_cases import ORDERS, Attack, Case, ours
from benchmarks.attack_networks import NETWORKS, Trained
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances
from benchmarks.parity import COMPARED_ON, save, seeded

KIND, NORMS = "hop-skip-jump", ("l2", "linf")
QUERIES = (250, 500, 1000, 2000)
STEPS = 10_000  # more than the queries allow


class NoMoreQueriesError(Exception):
    """All queries are used up."""


class Asked(nn.Module):
    """Counts the queries about one image, and keeps the distance of each wrong one that is nearer than those before.

    Args:
        network: in eval mode.
        image: [1, C, H, W], clean.
        target: [1], its class.
        norm: of the distance.
        limit: queries that are answered.

    Attributes:
        found: (number of the query, distance), nearer and nearer.
    """

    def __init__(self, network: nn.Module, image: Tensor, target: Tensor, norm: str, limit: int) -> None:
        super().__init__()
        self.network = network
        self.image, self.target, self.norm, self.limit = image, target, norm, limit
        self.shown = 0
        self.found: list[tuple[int, float]] = [(0, math.inf)]

    def forward(self, images: Tensor) -> Tensor:
        if self.shown >= self.limit:
            raise NoMoreQueriesError
        with torch.no_grad():
            logits = self.network(images)
            change = (images.double() - self.image.double()).flatten(1)
            distances = torch.linalg.vector_norm(change, ORDERS[self.norm], dim=1)
        for row in (logits.argmax(1) != self.target).nonzero().flatten().tolist():
            if float(distances[row]) < self.found[-1][1]:
                self.found.append((self.shown + row + 1, float(distances[row])))
        self.shown += len(images)
        return logits

    def distance_by(self, queries: int) -> float:
        """Of the nearest wrong image within so many queries; infinite where there is none."""
        return min(distance for number, distance in self.found if number <= queries)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare attacks that see answers alone at equal queries.")
    parser.add_argument("--images", type=int, default=100, help="how many images are attacked (default 100)")
    parser.add_argument("--network", choices=COMPARED_ON, default="digits 32", help="default: digits 32")
    parser.add_argument("--norm", choices=NORMS, help="one norm alone")
    parser.add_argument("--queries", type=int, nargs="+", default=QUERIES, help="where distances are read off")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/queries-NETWORK.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = circumstances(ATTACK_PEERS)
    trained = NETWORKS[arguments.network](arguments.images)
    rows = []
    for norm in [arguments.norm] if arguments.norm else NORMS:
        found = compared(arguments.network, norm, trained, tuple(arguments.queries))
        rows += found
        if arguments.save:
            save(ROOT / "results", "queries", arguments.network, found, facts)
    print(table(rows))


def compared(network: str, norm: str, trained: Trained, queries: tuple[int, ...]) -> list[dict]:
    """One row per number of queries and contender."""
    distances = {}
    case = Case(KIND, norm, STEPS, None, trained.classes)
    for name in ("medadv", *attack_peers.LIBRARIES):
        if name == "medadv" or attack_peers.attack(name, case) is not None:
            distances[name] = measured(name, case, trained, queries)
            print(norm, name, distances[name].isfinite().sum(0).tolist(), file=sys.stderr, flush=True)
    return rows_of(network, norm, queries, distances)


def rows_of(network: str, norm: str, queries: tuple[int, ...], distances: dict[str, Tensor]) -> list[dict]:
    """Means of distances [images, numbers of queries], and how far each contender is from ours, image by image."""
    by_all = torch.stack(list(distances.values())).isfinite().all(0)
    rows = []
    for number, limit in enumerate(queries):
        near = {name: found[by_all[:, number], number] for name, found in distances.items()}
        for name, kept in near.items():
            farther = kept - near["medadv"]
            row = {"network": network, "case": f"{KIND} {norm}", "norm": norm, "contender": name, "queries": limit}
            row |= {"images": len(by_all), "found": float(distances[name][:, number].isfinite().double().mean())}
            row |= {"by_all": len(kept), "mean_distance": float(kept.mean()), "farther": float(farther.mean())}
            rows.append({**row, "standard_error": float(farther.std() / math.sqrt(len(kept)))})
    return rows


def measured(name: str, case: Case, trained: Trained, queries: tuple[int, ...]) -> Tensor:
    """Distances [images, numbers of queries] of one contender."""
    rows = []
    for number, (image, target) in enumerate(zip(trained.images.split(1), trained.targets.split(1), strict=True)):
        asked = Asked(trained.network, image, target, case.norm, max(queries)).eval()
        numbered = Case(case.kind, case.norm, case.steps, None, case.classes, seed=number)
        attack = ours(numbered) if name == "medadv" else attack_peers.attack(name, numbered)
        finish(seeded(attack, number), asked)
        rows.append([asked.distance_by(limit) for limit in queries])
    return torch.tensor(rows, dtype=torch.float64)


def finish(attack: Attack, asked: Asked) -> None:
    """Let an attack run until its queries are used up, or it ends by itself."""
    try:
        attack(asked, asked.image.clone(), asked.target.clone())
    except NoMoreQueriesError:
        pass
    except Exception as error:  # a peer that gives an image up is a finding, too
        print(f"stopped after {asked.shown} queries: {type(error).__name__}: {error}", file=sys.stderr)


def table(rows: list[dict]) -> str:
    """Markdown: one line per norm and number of queries; the mean distance of every contender.

    In brackets, how much farther than ours it is, with the standard error over the images.
    """
    names = list(dict.fromkeys(row["contender"] for row in rows))
    lines = [f"| attack | queries | images | {' | '.join(names)} |", "| --- " * (3 + len(names)) + "|"]
    for row in (row for row in rows if row["contender"] == names[0]):
        same = [other for other in rows if (other["case"], other["queries"]) == (row["case"], row["queries"])]
        cells = {other["contender"]: cell(other) for other in same}
        distances = " | ".join(cells.get(name, "") for name in names)
        lines.append(f"| {row['case']} | {row['queries']} | {row['by_all']} of {row['images']} | {distances} |")
    return "\n".join(lines)


def cell(row: dict) -> str:
    """Mean distance of one contender."""
    beside = f" ({row['farther']:+.4f} ± {row['standard_error']:.4f})" if row.get("farther") else ""
    return f"{row['mean_distance']:.4f}{beside}"


if __name__ == "__main__":
    main()
