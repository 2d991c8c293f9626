"""Fast minimum-norm attack."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv._words import RowNorm
from medadv.attacks.minimum_norm.ball import to_l0_ball, to_l1_ball_in_box
from medadv.attacks.minimum_norm.boundary import classes_for, guess_and_gradient
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.attacks.minimum_norm.length import dual_length, length, per_row, positive
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormGradientAttack
from medadv.attacks.minimum_norm.schedule import cosine
from medadv.attacks.progress import told
from medadv.attacks.record import some

NORMS = ("linf", "l2", "l1", "l0")

# Constants of the paper: length of a step as a fraction of the image range, and share by which the radius changes.
_FIRST_STEP, _LAST_STEP = 1.0, 0.01
_FIRST_GAMMA, _LAST_GAMMA = 0.05, 0.001

# Of L0, ours: with how many entries the walk starts, times as many as the guess changes. Fewer take longer to fool.
_MORE_THAN_GUESSED = 2


@dataclass(frozen=True, repr=False)
class FMN(MinimumNormGradientAttack):
    """Noise in a ball whose radius follows the distance to the boundary, then shrinks or grows in ever smaller steps.

    Pintor et al., "Fast minimum-norm adversarial attacks through adaptive norm constraints" (2021), with the paper's
    constants: steps along the gradient of the margin from 1 to 0.01, the radius changes by 0.05 to 0.001, both along a
    cosine; until a first adversarial image is found, the radius is a little beyond where the linearised margin would be
    zero. In "l0", the number of changed entries (voxels times channels), the radius changes by at least one of them.
    Ours: the first step goes along the gradient of the class that is nearest as DeepFool sees it, and is at least as
    long as DeepFool's, and the radius is DeepFool's; in "l0" what DeepFool finds is looked at, and the walk starts at
    the clean image, with twice as many entries. To find that class takes a gradient per rival class, each a step, up to
    half of the steps.

    Args:
        norm: "linf", "l2", "l1" or "l0".
        steps, kappa: see `MinimumNormGradientAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> bool(FMN("l1", steps=20)(Victim(net), images, net(images).argmax(1)).success.all())
    True
    """

    name: ClassVar[str] = "fmn"

    norm: str = "linf"
    steps: int = field(default=1000, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _arguments.choice(self.norm, "norm", NORMS)

    @property
    def measure(self) -> str:
        return self.norm

    def _chase(self, hunt: Hunt) -> None:
        # No image leaves before the end.
        for rows in hunt.packs(hunt.rows):
            self._walk(hunt, rows)

    def _walk(self, hunt: Hunt, rows: Tensor) -> None:
        scale = hunt.victim.scale
        low, high = hunt.room(rows)
        longest = length(torch.maximum(high, -low), self.norm)
        guess, gradient, taken = guess_and_gradient(hunt, rows, classes_for(self.steps))
        steps = self.steps - taken
        radius = torch.full_like(longest, torch.inf)
        if self.norm == "l0":
            # A few entries at the bounds are hard to leave: the guess is looked at, the walk starts at the clean image.
            with torch.no_grad():
                hunt.look(rows, 0, guess)
            radius = _MORE_THAN_GUESSED * length(guess, "l0")
            noise = torch.zeros_like(guess)
        else:
            # In L1 the guess is a few entries at the bounds, which are hard to leave; a finite step moves more of them.
            reach = length(guess, "l2").clamp_min(_FIRST_STEP * scale)
            along = ops.unit_rows(gradient) * per_row(reach, guess)
            noise = self._step(hunt, rows, along, gradient, 0.0, length(guess, self.norm))
        for step in told(range(steps)):
            sight = hunt.look(rows, step, noise)
            gradient = hunt.margin_gradient(rows, step, sight)
            gamma = cosine(_FIRST_GAMMA, _LAST_GAMMA, step, steps)
            best, lead = some(hunt.record.distance, rows), sight.margin - some(hunt.needed, rows)
            radius = self._radius(gamma, radius, best, sight.adversarial, noise, lead, gradient)
            radius = torch.minimum(radius, longest)
            length_of_step = scale * cosine(_FIRST_STEP, _LAST_STEP, step, steps)
            noise = self._step(hunt, rows, noise, gradient, length_of_step, radius)
        with torch.no_grad():
            hunt.look(rows, steps, noise)

    def _step(self, hunt: Hunt, rows: Tensor, noise: Tensor, gradient: Tensor, length: float, radius: Tensor) -> Tensor:
        """Noise [M, C, *S] after a step along the gradient, inside the bounds and balls of radius [M] float64."""
        if self.norm in ("linf", "l2"):
            # Clipped first: what a voxel at the bounds cannot use of the radius, the others can.
            images, bounds = hunt.examples(rows).images, hunt.victim.bounds
            return ops.unit_step(images, noise, gradient, length, bounds, radius, cast(RowNorm, self.norm))
        noise = torch.add(noise, ops.unit_rows(gradient), alpha=length)
        if self.norm == "l0":
            # The largest entries as they came, not as they are left by the bounds.
            return hunt.clip(rows, to_l0_ball(noise, radius))
        # Clipped first, entries at the bounds would be drawn away from them, again in every step.
        return to_l1_ball_in_box(noise, *hunt.room(rows), radius)

    def _radius(
        self,
        gamma: float,
        radius: Tensor,
        best: Tensor,
        adversarial: Tensor,
        noise: Tensor,
        margin: Tensor,
        gradient: Tensor,
    ) -> Tensor:
        if self.norm == "l0":
            fewer = torch.minimum(((1 - gamma) * radius).floor(), radius - 1).clamp_min(1)
            more = torch.maximum(((1 + gamma) * radius).floor(), radius + 1)
            return torch.where(adversarial, torch.minimum(fewer, best), more)
        if math.isinf(float(best.max())):
            to_boundary = margin.double().abs() / positive(dual_length(gradient, self.norm))
            radius = torch.where(best.isinf(), length(noise, self.norm) + to_boundary, radius)
        # A little beyond the boundary: on it, rounding decides.
        return torch.where(adversarial, torch.minimum((1 - gamma) * radius, best), (1 + gamma) * radius)
