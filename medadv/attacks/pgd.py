"""Projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from medadv.attacks.attack import Attack
from medadv.perturbations import Additive


@dataclass(frozen=True, repr=False)
class PGD(Attack):
    """Noise within an L-infinity, L2 or L1 ball, raised by projected gradient steps from a random start.

    Madry et al., "Towards deep learning models resistant to adversarial attacks" (2018): sign steps in the L-infinity
    ball, steps along the gradient in the L2 ball. In the L1 ball it is SLIDE (Tramer and Boneh, "Adversarial training
    and robustness for multiple perturbations", 2019), steps along the one per cent largest entries of the gradient,
    with the exact projection of Croce and Hein (2021).

    Args:
        eps: radius of the ball as a fraction of the victim's image range, at least 0.
        norm: "linf", "l2" (Euclidean length over all voxels and channels) or "l1" (sum of the sizes of all changes).
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, stop_early, objective, seed: see
            `Attack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> result = PGD(eps=0.5, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.5
    True
    >>> PGD(eps=0.25, steps=10, seed=3)
    PGD(eps=0.25, norm='linf', steps=10, seed=3)
    """

    name: ClassVar[str] = "pgd"
    budget_field: ClassVar[str] = "eps"

    eps: float = 8 / 255
    norm: str = "linf"

    @cached_property
    def perturbation(self) -> Additive:
        return Additive(self.eps, self.norm)

    @property
    def rule(self) -> str:
        return {"linf": "sign", "l1": "l1"}.get(self.norm, "l2")
