"""The affine attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv._words import Padding
from medadv.attacks.attack import Attack
from medadv.perturbations import Affine


@dataclass(frozen=True, repr=False)
class AffineAttack(Attack):
    """The image turned, stretched and shifted within limits, raised by gradient steps.

    See `medadv.perturbations.Affine`, after AdvAffine of AdvChain (Chen et al., 2022). So few parameters leave many
    local maxima: hence five restarts and Adam, which broke twice as many phantoms as one restart of sign steps.

    Args:
        strength: largest fraction of each limit, from 0 to 1.
        rotation: limit of a turn in degrees, from 0 to 180.
        scaling: limit of a stretch as a factor, at least 1.
        shift: limit of a shift as a fraction of the axis, at least 0.
        padding: what lies outside the image: its "border" voxels or its "reflection".
        rule: "sign", "l2" or "adam".
        steps, step_size, momentum, restarts, random_start, stop_early, objective, seed: see `Attack`.

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
    rule: str = "adam"
    restarts: int = field(default=5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rotation", self.perturbation.rotation)
        object.__setattr__(self, "scaling", self.perturbation.scaling)
        object.__setattr__(self, "shift", self.perturbation.shift)

    @property
    def perturbation(self) -> Affine:
        return Affine(self.strength, self.rotation, self.scaling, self.shift, self.padding)
