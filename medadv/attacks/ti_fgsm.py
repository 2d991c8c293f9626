"""Iterative FGSM with translation-invariant gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv.attacks.mi_fgsm import MIFGSM
from medadv.attacks.search.gradient import Gradient


@dataclass(frozen=True, kw_only=True, repr=False)
class TIFGSM(MIFGSM):
    """MI-FGSM with the gradient convolved with a Gaussian of 15 voxels, in place of many shifted images.

    Dong et al., "Evading defenses to transferable adversarial examples by translation-invariant attacks" (2019): three
    standard deviations are 7 voxels. For networks that read 299 x 299 pixels; smaller images need a smaller one.

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
    >>> result = TIFGSM(eps=0.25)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.25
    True
    """

    name: ClassVar[str] = "ti-fgsm"

    gradient: Gradient = field(default_factory=lambda: Gradient(translation=7 / 3))
