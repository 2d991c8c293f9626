"""Iterative FGSM with Nesterov momentum over copies of several brightnesses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv.attacks.mi_fgsm import MIFGSM
from medadv.attacks.search.gradient import Gradient


@dataclass(frozen=True, kw_only=True, repr=False)
class SINIFGSM(MIFGSM):
    """NI-FGSM with the mean gradient of five copies, each half as bright as the one before.

    Lin et al., "Nesterov accelerated gradient and scale invariance for adversarial attacks" (2020). Six forward and
    five backward passes per step.

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
    >>> result = SINIFGSM(eps=0.25)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.25
    True
    """

    name: ClassVar[str] = "si-ni-fgsm"

    gradient: Gradient = field(default_factory=lambda: Gradient(nesterov=True, scales=5))
