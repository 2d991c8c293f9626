"""Fast adaptive boundary attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.minimum_norm.boundary import CLASSES, Boundary, rivals
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.attacks.minimum_norm.length import length, per_row
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormGradientAttack
from medadv.attacks.progress import told
from medadv.attacks.randomness import Draw

NORMS = ("linf", "l2", "l1")

# Constants of the paper: weight of the clean image, overshoot, step back after a find.
_ALPHA_MAX = 0.1
_ETA = 1.05
_BETA = 0.9
_FINAL_SEARCHES = 3

# Ours: the last steps stay near the nearest image found, and step back less after a find; fewer than 8 bring nothing.
_LAST, _FEWEST_LAST = 0.15, 8  # of all steps
_BETA_NEAR = 0.98

# Length of a random start, as a fraction of the image range, where nothing was found; half of AutoAttack's radii.
_START = {"linf": 0.15, "l2": 0.5, "l1": 2.5}


@dataclass(frozen=True, repr=False)
class FAB(MinimumNormGradientAttack):
    """Steps along the decision boundary, drawn towards the clean image: FAB, and its targeted version FAB-T.

    Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack" (2020), with the
    paper's constants: 100 steps, alpha_max 0.1, eta 1.05, beta 0.9, 3 final searches. A step costs two forward passes
    and one backward pass per rival class; targeted, one backward pass, once per rival class. The rival that a step goes
    for is the nearest inside the bounds, which is exact for linear models; the paper has the nearest without bounds.
    From 50 steps on, the last 15 % of a search look around the nearest image that it found, with beta 0.98: ours.

    Args:
        norm: "linf", "l2" or "l1".
        targeted: go for one rival class after the other instead of the nearest of all.
        classes: how many classes are considered, the most likely ones, the right one included, at least 2.
        restarts: number of searches, the second and later ones from a random start, at least 1.
        seed: of the random starts, 0 to 2^64 - 1.
        steps, kappa: see `MinimumNormGradientAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> bool(FAB("l1", steps=5)(Victim(net), images, net(images).argmax(1)).success.all())
    True
    """

    name: ClassVar[str] = "fab"

    norm: str = "linf"
    targeted: bool = False
    classes: int = CLASSES
    restarts: int = field(default=1, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _arguments.choice(self.norm, "norm", NORMS)
        _arguments.flag(self.targeted, "targeted")
        object.__setattr__(self, "classes", _arguments.whole(self.classes, "classes", at_least=2))
        object.__setattr__(self, "restarts", _arguments.whole(self.restarts, "restarts", at_least=1))
        object.__setattr__(self, "seed", _arguments.whole(self.seed, "seed", at_least=0, below=2**64))

    @property
    def measure(self) -> str:
        return self.norm

    def _chase(self, hunt: Hunt) -> None:
        # No image leaves before the end.
        for rows in told(hunt.packs(hunt.rows)):
            self._search(hunt, rows)
            hunt.shorten(rows, self.steps, _FINAL_SEARCHES)

    def _search(self, hunt: Hunt, rows: Tensor) -> None:
        others = rivals(hunt.logits[rows], hunt.targets[rows], self.classes - 1)
        # Searches that start at the clean image have their first boundary in common.
        clean = Boundary.at_clean(hunt, rows, others)
        goals = [slice(rival, rival + 1) for rival in range(others.shape[1])] if self.targeted else [slice(None)]
        for restart in told(range(self.restarts)):
            for goal in told(goals):
                noise = self._start(hunt, rows, restart)
                first = clean.of_classes(goal) if restart == 0 else Boundary.at(hunt, rows, 0, noise, others[:, goal])
                self._follow(hunt, rows, noise, first, others[:, goal])

    def _start(self, hunt: Hunt, rows: Tensor, restart: int) -> Tensor:
        clean = hunt.images[rows]
        if restart == 0:
            return torch.zeros_like(clean)
        direction = Draw(self.seed, hunt.ids[rows], restart).normal(tuple(clean.shape[1:]))
        best = hunt.record.distance[rows] / 2
        wanted = torch.where(best.isinf(), _START[self.norm] * hunt.victim.scale, best)
        return hunt.clip(rows, direction * per_row(wanted / length(direction, self.norm), direction))

    def _follow(self, hunt: Hunt, rows: Tensor, noise: Tensor, boundary: Boundary, others: Tensor) -> None:
        before = hunt.record.distance[rows]
        beta = torch.full_like(before, _BETA)
        last = round(_LAST * self.steps)
        for step in told(range(self.steps)):
            if step == self.steps - last and last >= _FEWEST_LAST:
                noise, beta = _back_to_the_nearest(hunt, rows, noise, before)
            if step > 0:
                boundary = Boundary.at(hunt, rows, step, noise, others)
            noise = hunt.clip(rows, self._next(boundary, noise, *hunt.room(rows)))
            with torch.no_grad():
                adversarial = hunt.look(rows, step + 1, noise).adversarial
            noise.mul_(per_row(torch.where(adversarial, beta, 1.0), noise))

    def _next(self, boundary: Boundary, noise: Tensor, low: Tensor, high: Tensor) -> Tensor:
        from_here, nearest = boundary.nearest_move(low - noise, high - noise, self.norm)
        from_clean, _ = boundary.of_class(nearest).seen_from(-noise).moves(low, high, self.norm)
        here, clean = length(from_here, self.norm), length(from_clean, self.norm)
        share = (here / (here + clean).clamp_min(1e-300)).clamp_max(_ALPHA_MAX)
        moved = noise.add(from_here, alpha=_ETA).mul_(per_row(1 - share, noise))
        return moved.add_(from_clean.mul_(per_row(_ETA * share, noise)))


def _back_to_the_nearest(hunt: Hunt, rows: Tensor, noise: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Where the last steps start, and how far they step back after a find.

    Args:
        hunt: what is hunted.
        rows: [M] int64, the examples.
        noise: [M, C, *S], where the search stands: images go on from there where it found none that is nearer.
        before: [M], the distances known when the search began.

    Returns:
        Noise [M, C, *S], and beta [M].
    """
    nearer = hunt.record.distance[rows] < before
    nearest = hunt.record.parameters["noise"][rows]
    start = torch.where(per_row(nearer, noise).bool(), nearest * _BETA_NEAR, noise)
    return start, torch.where(nearer, _BETA_NEAR, _BETA)
