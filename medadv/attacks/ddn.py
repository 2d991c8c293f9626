"""Decoupled direction and norm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv.attacks.minimum_norm.boundary import classes_for, first_guess
from medadv.attacks.minimum_norm.hunt import Hunt, Sight
from medadv.attacks.minimum_norm.length import length, per_row
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormGradientAttack
from medadv.attacks.minimum_norm.schedule import cosine
from medadv.attacks.progress import told
from medadv.objectives import Margin, Objective

# Constants of the paper; lengths as fractions of the image range.
_FIRST_LENGTH = 1.0
_FIRST_STEP, _LAST_STEP = 1.0, 0.01

_NO_LENGTH = 1e-30  # noise below this stays where it is


@dataclass(frozen=True, repr=False)
class DDN(MinimumNormGradientAttack):
    """Noise on an L2 sphere that shrinks while the victim is fooled and grows while it is not.

    Rony et al., "Decoupling direction and norm for efficient gradient-based L2 adversarial attacks and defenses"
    (2019): steps along the gradient of length 1 to 0.01 along a cosine, as fractions of the image range. Ours: it
    raises the margin, as the paper's cross-entropy (`objective=CrossEntropy()`) heads for all rival classes at once
    where their logits are close, and it starts at the nearest boundary as DeepFool sees it, where the paper starts at
    the clean image with a radius of 1. That takes a gradient per rival class, each a step, up to half of the steps.

    Args:
        gamma: share by which the radius changes per step, above 0 and below 1.
        objective: what is raised.
        steps, kappa: see `MinimumNormGradientAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> bool(DDN(steps=20)(Victim(net), images, net(images).argmax(1)).success.all())
    True
    """

    name: ClassVar[str] = "ddn"

    gamma: float = 0.05
    objective: Objective = field(default_factory=Margin, kw_only=True)
    steps: int = field(default=300, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "gamma", _arguments.real(self.gamma, "gamma", above=0, below=1))
        if isinstance(self.objective, type) or not callable(self.objective):
            raise TypeError(f"objective must be an objective such as Margin(), got {self.objective!r}.")

    @property
    def measure(self) -> str:
        return "l2"

    def _chase(self, hunt: Hunt) -> None:
        # No image leaves before the end.
        for rows in hunt.packs(hunt.rows):
            self._shrink(hunt, rows)

    def _shrink(self, hunt: Hunt, rows: Tensor) -> None:
        scale = hunt.victim.scale
        low, high = hunt.room(rows)
        longest = length(torch.maximum(high, -low), "l2")
        noise, taken = first_guess(hunt, rows, classes_for(self.steps))
        steps = self.steps - taken
        radius = length(noise, "l2")
        radius = torch.where(radius > 0, radius, _FIRST_LENGTH * scale)
        for step in told(range(steps)):
            sight = hunt.look(rows, step, noise)
            gradient = ops.unit_rows(self._gradient(hunt, rows, step, sight))
            radius *= torch.where(sight.adversarial, 1 - self.gamma, 1 + self.gamma)
            radius = torch.minimum(radius, longest)
            noise.add_(gradient, alpha=scale * cosine(_FIRST_STEP, _LAST_STEP, step, steps))
            noise = hunt.clip(rows, noise.mul_(per_row(radius / length(noise, "l2").clamp_min_(_NO_LENGTH), noise)))
        with torch.no_grad():
            hunt.look(rows, steps, noise)

    def _gradient(self, hunt: Hunt, rows: Tensor, step: int, sight: Sight) -> Tensor:
        if self.objective == Margin():
            return hunt.margin_gradient(rows, step, sight)
        value = self.objective(sight.logits, hunt.examples(rows).targets)
        return hunt.differentiated(rows, step, sight.slope(value), 1)
