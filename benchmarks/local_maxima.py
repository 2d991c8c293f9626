"""Where attacks of few parameters get stuck: beside a search without gradients, and beside ten times the restarts.

``python -m benchmarks.local_maxima [--images 50] [--network NAME] [--name local-maxima]``

Every attack with its own defaults, at a budget that breaks a part of the images. The random search has as many model
calls (forward and backward passes) as the attack makes for an image that withstands; the longer search ten times the
restarts. Both are asked about the images that withstood, so that the columns count what the attack missed.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.attack_networks import NETWORKS
from benchmarks.compare import ROOT, circumstances
from medadv.attacks import (
    AdversarialSmoothBiasField,
    AffineAttack,
    Attack,
    BiasFieldAttack,
    ChainAttack,
    DeformationAttack,
    FlowAttack,
    FrequencyAttack,
    IntensityAttack,
    StabilisedMedicalAttack,
    random_search,
)
from medadv.data import chest_phantoms
from medadv.models import ResidualNetwork, Victim

RESULTS = ROOT / "results"
LONGER = 10  # times the restarts


@dataclass(frozen=True, eq=False)
class Problem:
    """A network, and images that it gets right."""

    victim: Victim
    images: Tensor
    targets: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description="What attacks of few parameters miss.")
    parser.add_argument("--images", type=int, default=50, help="how many images are attacked (default 50)")
    parser.add_argument("--network", choices=PROBLEMS, help="one network alone")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json and .md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in [arguments.network] if arguments.network else PROBLEMS:
        try:
            problem = PROBLEMS[name](arguments.images)
        except FileNotFoundError as error:
            print(f"{name}: no data: {error}", file=sys.stderr)
            continue
        for attack in attacks(name):
            rows.append({"network": name, **measured(attack, problem)})
            print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if arguments.name:
        (RESULTS / f"{arguments.name}.json").write_text(json.dumps({**circumstances(), "rows": rows}, indent=1) + "\n")
        (RESULTS / f"{arguments.name}.md").write_text(table(rows) + "\n")


def attacks(network: str) -> list[Attack]:
    """With their defaults, at a budget for this network."""
    kinds = (
        AffineAttack,
        FrequencyAttack,
        IntensityAttack,
        BiasFieldAttack,
        DeformationAttack,
        FlowAttack,
        ChainAttack,
        AdversarialSmoothBiasField,
        StabilisedMedicalAttack,
    )
    return [kind().with_budget(budget) for kind, budget in zip(kinds, BUDGETS[network], strict=True)]


def measured(attack: Attack, problem: Problem) -> dict:
    """What the attack breaks, and what the others break of the rest."""
    result = attack(problem.victim, problem.images, problem.targets)
    rest = result.robust.nonzero().flatten()
    spent = result.forwards + result.backwards
    calls = int(spent.max())
    given = problem.victim, problem.images[rest], problem.targets[rest], rest
    missed = dict.fromkeys(("random_search", "longer"), 0)
    if len(rest):
        with torch.no_grad():
            logits = problem.victim(problem.images[rest])
        random = random_search(attack.perturbation, *given, logits, queries=calls, seed=0)
        longer = replace(attack, restarts=LONGER * attack.restarts, random_start=True, seed=1)(*given)
        missed = {"random_search": int(random.success.sum()), "longer": int(longer.success.sum())}
    return {
        "attack": attack.name,
        "budget": attack.budget,
        "images": len(result.success),
        "broken": int(result.success.sum()),
        "broken_by_random_search": random_search_alone(attack, problem, calls),
        "missed_that_random_search_breaks": missed["random_search"],
        "missed_that_longer_breaks": missed["longer"],
        "most_calls": calls,
        "calls": float(spent.double().mean()),
    }


def random_search_alone(attack: Attack, problem: Problem, queries: int) -> int:
    with torch.no_grad():
        logits = problem.victim(problem.images)
    ids = torch.arange(len(logits))
    asked = problem.victim, problem.images, problem.targets, ids, logits
    return int(random_search(attack.perturbation, *asked, queries=queries, seed=0).success.sum())


def of_network(name: str, count: int) -> Problem:
    """One of the networks that attacks are compared on."""
    trained = NETWORKS[name](count)
    return Problem(Victim(trained.network), trained.images, trained.targets)


def mirrored_phantoms(count: int) -> Problem:
    """The same, every second pair turned left to right: four classes, and training without mirror images."""

    def films(number: int, seed: int) -> tuple[Tensor, Tensor]:
        found = chest_phantoms(number, size=32, seed=seed)
        mirrored = torch.arange(number) // 2 % 2
        images = torch.from_numpy(found.images)
        images = torch.where(mirrored.bool().reshape(-1, 1, 1, 1), images.flip(-1), images)
        return images, torch.from_numpy(found.labels) + 2 * mirrored

    torch.manual_seed(0)
    return _trained(ResidualNetwork(classes=4, width=8), films(768, 0), films(3 * count, 1), 15, count)


def lesions(count: int) -> Problem:
    """Generated volumes of 16 x 16 x 16: no lesion, a bright one or a dark one in an ellipsoid."""

    def volumes(number: int, seed: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(number) % 3
        drawn = [_volume(np.random.default_rng([seed, each]), int(labels[each])) for each in range(number)]
        return torch.from_numpy(np.stack(drawn)[:, None]), labels

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(1, 8, 3, 2, 1),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.Conv3d(8, 16, 3, 2, 1),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.Conv3d(16, 16, 3, 1, 1),
        nn.ReLU(),
        nn.AdaptiveMaxPool3d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    return _trained(network, volumes(600, 0), volumes(3 * count, 1), 30, count)


def untrained(count: int, task: str) -> Problem:
    """Noise of 8 x 8, and a network with random weights and four outputs."""
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
    victim = Victim(network.eval(), task=task, std=0.25)
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return Problem(victim, images, victim.task.predict(victim(images)))


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "phantoms 32": lambda count: of_network("phantoms 32", count),
    "mirrored phantoms 32": mirrored_phantoms,
    "lesions 16": lesions,
    "untrained, classes": lambda count: untrained(count, "multiclass"),
    "untrained, labels": lambda count: untrained(count, "multilabel"),
    # The attacks' defaults were chosen on those above, and on none of these.
    "digits 32, undefended": lambda count: of_network("digits 32, undefended", count),
    "chest X-rays 64": lambda count: of_network("chest X-rays 64", count),
}

# In the order of `attacks`; set so that most break between a fifth and four fifths.
BUDGETS = {
    "phantoms 32": (0.5, 20.0, 1.1, 1.1, 0.5, 0.1, 0.15, 1.03, 0.005),
    "mirrored phantoms 32": (0.15, 8.0, 1.1, 1.05, 0.25, 0.05, 0.08, 1.02, 0.002),
    "lesions 16": (0.2, 8.0, 1.1, 1.04, 0.25, 0.05, 0.05, 1.02, 0.004),
    "untrained, classes": (0.3, 20.0, 1.3, 1.1, 0.2, 0.08, 0.08, 1.08, 0.02),
    "untrained, labels": (0.2, 20.0, 1.3, 1.1, 0.15, 0.05, 0.05, 1.08, 0.02),
    "digits 32, undefended": (0.5, 40.0, 1.5, 1.3, 0.5, 0.2, 0.2, 1.1, 0.03),
    "chest X-rays 64": (1.0, 40.0, 1.3, 1.3, 1.5, 0.3, 0.4, 1.1, 0.01),
}


def table(rows: list[dict]) -> str:
    """Markdown: one line per network and attack."""
    lines = [
        "| network | attack | broken | random search, equal calls | only by random search | only by ten times the "
        "restarts | calls, at most |",
        "| --- " * 7 + "|",
    ]
    for row in rows:
        lines.append(
            f"| {row['network']} | {row['attack']} at {row['budget']:g} | {row['broken']} of {row['images']} "
            f"| {row['broken_by_random_search']} | {row['missed_that_random_search_breaks']} "
            f"| {row['missed_that_longer_breaks']} | {row['calls']:.0f}, {row['most_calls']} |"
        )
    return "\n".join(lines)


def _trained(
    network: nn.Module, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], epochs: int, count: int
) -> Problem:
    """Trained on the images as they are, as mirror images would be of another class."""
    images, targets = train
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=draw).split(64):
            optimiser.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(network(images[chosen]), targets[chosen]).backward()
            optimiser.step()
    images, targets = test
    with torch.no_grad():
        right = network.eval()(images).argmax(1) == targets
    return Problem(Victim(network), images[right][:count], targets[right][:count])


def _volume(draw: np.random.Generator, label: int) -> np.ndarray:
    size = 16
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    place = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    radii = draw.uniform(0.7, 0.9, 3).reshape(3, 1, 1, 1)
    body = 1 / (1 + np.exp(20 * (np.sqrt(((place / radii) ** 2).sum(0)) - 1)))
    texture = np.kron(draw.normal(size=(size // 2,) * 3), np.ones((2, 2, 2)))
    volume = (draw.uniform(0.4, 0.6) + 0.04 * texture) * body
    if label > 0:
        middle, width = draw.uniform(-0.4, 0.4, (3, 1, 1, 1)), draw.uniform(0.15, 0.25)
        lesion = np.exp(-((place - middle) ** 2).sum(0) / (2 * width**2))
        volume = volume + (1 if label == 1 else -1) * draw.uniform(0.18, 0.3) * lesion
    return np.clip(volume + 0.1 + 0.02 * draw.normal(size=volume.shape), 0, 1).astype(np.float32)


if __name__ == "__main__":
    main()
