"""The affine attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv._words import Padding
from medadv.attacks.margin_attack import MarginAttack
from medadv.perturbations import Affine


@dataclass(frozen=True, repr=False)
class AffineAttack(MarginAttack):
    """The image turned, stretched and shifted within limits, the margin raised by gradient steps.

    See `medadv.perturbations.Affine`, after AdvAffine of AdvChain (Chen et al., 2022). So few parameters leave many
    local maxima: hence, ours, five restarts of 20 steps (on the network of `medadv demo`, ten still gain when doubled),
    each from the best of 15 random motions, some of them as large as can be along some parameters.

    Args:
        strength: largest fraction of each limit, from 0 to 1.
        rotation: limit of a turn in degrees, from 0 to 180.
        scaling: limit of a stretch as a factor, at least 1.
        shift: limit of a shift as a fraction of the axis, at least 0.
        padding: what lies outside the image: its "border" voxels or its "reflection".
        rule: "sign", "l2", or with ``adaptive=False`` "adam".
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, objective, seed: see
            `MarginAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.rand(5, 1, 8, 8)
    >>> result = AffineAttack(strength=0.5, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> bool((result.distance <= 0.5).all())
    True
    """

    name: ClassVar[str] = "affine"
    budget_field: ClassVar[str] = "strength"

    strength: float = 1.0
    rotation: float = 10.0
    scaling: float = 1.1
    shift: float = 0.05
    padding: Padding = "border"
    rule: str = "l2"
    steps: int = field(default=20, kw_only=True)
    restarts: int = field(default=5, kw_only=True)
    draws: int = field(default=15, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rotation", self.perturbation.rotation)
        object.__setattr__(self, "scaling", self.perturbation.scaling)
        object.__setattr__(self, "shift", self.perturbation.shift)

    @property
    def perturbation(self) -> Affine:
        return Affine(self.strength, self.rotation, self.scaling, self.shift, self.padding)
