"""The basic iterative method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from medadv.attacks.pgd import PGD


@dataclass(frozen=True, kw_only=True, repr=False)
class BIM(PGD):
    """Projected gradient steps from the clean image: iterative FGSM.

    Kurakin et al., "Adversarial examples in the physical world" (2017), whose steps of one grey level are those of
    `PGD` here, in proportion to the budget.

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
    >>> result = BIM(eps=0.25)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.25
    True
    """

    name: ClassVar[str] = "bim"

    steps: int = 10
    random_start: bool = False
