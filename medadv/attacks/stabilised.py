"""The stabilised attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv.attacks.pgd import PGD
from medadv.objectives import CrossEntropyOrMargin, Objective, Stabilised


@dataclass(frozen=True, kw_only=True, repr=False)
class StabilisedMedicalAttack(PGD):
    """Iterative FGSM on an objective that keeps the answer to the image near that to the smoothed image.

    Qi et al., "Stabilized medical image attacks" (2021). The published texts that could be read give neither weight nor
    kernel nor number of steps: weight 1, 3 voxels with standard deviation 1, and ten steps of `PGD`'s length are ours.
    Two forward passes and one backward pass per step. With ``Stabilised(weight=0)`` it is `BIM`, bit by bit. The
    cross-entropy is that of one class; of several labels, which the paper has not, the margin is stabilised (ours), as
    a sum of cross-entropies pushes all labels at once.

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
    >>> result = StabilisedMedicalAttack(eps=0.25)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.25
    True
    """

    name: ClassVar[str] = "stabilised"

    steps: int = 10
    random_start: bool = False
    objective: Objective = field(default_factory=lambda: Stabilised(CrossEntropyOrMargin()))
