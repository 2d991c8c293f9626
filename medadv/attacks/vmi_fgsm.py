"""Iterative FGSM with variance tuning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv.attacks.mi_fgsm import MIFGSM
from medadv.attacks.search.gradient import Gradient


@dataclass(frozen=True, kw_only=True, repr=False)
class VMIFGSM(MIFGSM):
    """MI-FGSM with each gradient corrected by how the last one differed from those around it.

    Wang and He, "Enhancing the transferability of adversarial attacks through variance tuning" (2021): twenty points
    within one and a half radii. 21 forward and backward passes per step.

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
    >>> result = VMIFGSM(eps=0.25, steps=2)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.25
    True
    """

    name: ClassVar[str] = "vmi-fgsm"

    gradient: Gradient = field(default_factory=lambda: Gradient(neighbours=20, neighbourhood=1.5))
