"""Projected gradient descent that finds its own step sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from medadv.attacks.pgd import PGD


@dataclass(frozen=True, kw_only=True, repr=False)
class APGD(PGD):
    """PGD with inertia, and steps from twice the radius that are halved, per image, where they no longer help.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
    (2020). ``APGD(eps)`` is their APGD-CE, ``APGD(eps, objective=DLR())`` APGD-DLR, and ``APGD(eps, restarts=9,
    objective=TargetedDLR())`` APGD-T. It starts uniformly in the ball, theirs on its surface. In the L1 ball it is
    L1-APGD (Croce and Hein, "Mind the box: L1-APGD for sparse adversarial attacks on image classifiers", 2021): steps
    along ever fewer entries of the gradient, and the exact projection; their larger radii to begin with are left out.

    Args:
        eps: radius of the ball as a fraction of the victim's image range, at least 0.
        norm: "linf", "l2" or "l1".
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, stop_early, objective, seed: see
            `Attack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.full((5, 1, 8, 8), 0.5)
    >>> result = APGD(eps=0.25, steps=10)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.25
    True
    """

    name: ClassVar[str] = "apgd"

    steps: int = 100
    adaptive: bool = True
