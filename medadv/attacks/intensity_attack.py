"""The intensity curve attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv.attacks.margin_attack import MarginAttack
from medadv.perturbations import IntensityCurve


@dataclass(frozen=True, repr=False)
class IntensityAttack(MarginAttack):
    """Another window and another gamma, the margin raised by gradient steps.

    See `medadv.perturbations.IntensityCurve`; ours. So few parameters leave local maxima: hence three restarts
    of ten steps, each from the best of ten random curves.

    Args:
        gamma: largest exponent, at least 1: 1.5 allows 1 / 1.5 to 1.5.
        window: how far each end of the window may move, as a fraction of the image range, from 0 to below 0.5.
        rule: "sign", "l2", or with ``adaptive=False`` "adam".
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, objective, seed: see
            `MarginAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.rand(5, 1, 8, 8)
    >>> result = IntensityAttack(gamma=1.3, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> bool((result.distance <= 1.3).all())
    True
    """

    name: ClassVar[str] = "intensity"
    budget_field: ClassVar[str] = "gamma"

    gamma: float = 1.3
    window: float = 0.05
    rule: str = "sign"
    steps: int = field(default=10, kw_only=True)
    restarts: int = field(default=3, kw_only=True)
    draws: int = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "window", self.perturbation.window)

    @property
    def perturbation(self) -> IntensityCurve:
        return IntensityCurve(self.gamma, self.window)
