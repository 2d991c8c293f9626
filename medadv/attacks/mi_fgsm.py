"""Iterative FGSM with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from medadv.attacks.pgd import PGD


@dataclass(frozen=True, kw_only=True, repr=False)
class MIFGSM(PGD):
    """Steps from the clean image along a running sum of gradients, which stays the same for more models.

    Dong et al., "Boosting adversarial attacks with momentum" (2018): decay 1, ten steps of a tenth of the radius each.
    Made to be shown to other models, so all steps are made, also after the victim was fooled; images that fooled it
    are judged by their objective.

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
    >>> result = MIFGSM(eps=0.25)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.25
    True
    """

    name: ClassVar[str] = "mi-fgsm"
    reach: ClassVar[float] = 1.0

    steps: int = 10
    momentum: float = 1.0
    random_start: bool = False
    stop_early: bool = False
