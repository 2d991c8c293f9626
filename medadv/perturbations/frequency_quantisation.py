"""Quantisation in the frequency domain: rounding the cosine transform of blocks, as image compression does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from medadv import _arguments
from medadv.perturbations.motion import share_of
from medadv.perturbations.perturbation import Bounds, Draw, Parameters
from medadv.perturbations.rounding import float32_at_most

# Steps are in units of a 256th of the image range, as in JPEG tables and in the paper.
_LEVELS = 255.0

# Steps that the gradient looks at: so many, evenly spaced up to the largest, and 0. Those nearer to the step itself
# than a quarter of their distance are left out, as chords to them are next to vertical.
_CHORDS = 16
_TOO_NEAR = 1 / 4


@dataclass(frozen=True)
class FrequencyQuantisation:
    """Every coefficient of the discrete cosine transform of a block rounded to a multiple of a step of its own.

    Hanif et al., "Frequency domain adversarial training for robust volumetric medical segmentation" (VAFA, 2023): a
    rounding with a slope (x plus the cube of what rounding takes away, after Shin and Song, 2017), blocks of 32 voxels
    in 3D and a largest step of 20. There steps are at least 5; here 0 is allowed, and changes nothing, and one table of
    steps is for all blocks.

    Between its jumps the rounding tells little of where a larger or smaller step leads, and nothing at step 0. But what
    it does to the coefficients is known for every step, without the model. So the gradient to a step (ours) is the
    slope of a chord: from this step to the one, of 0 and 16 evenly spaced ones up to the largest, that would raise a
    loss with the gradient at hand to the coefficients the most, were it linear in them; 0 where none would raise it.
    The images are the same.

    Args:
        step: largest step in 1/255 of the image range, at least 0.
        block: voxels along every axis of a block, at least 2; images are continued by their border voxels to whole
            blocks.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> rounding = FrequencyQuantisation(step=20.0, block=4)
    >>> x = torch.rand(1, 1, 8, 8)
    >>> steps = {"steps": torch.full((1, 4, 4), 20.0)}
    >>> float((rounding.apply(x, steps, (0.0, 1.0)) - x).abs().max()) > 0
    True
    """

    step: float
    block: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", _arguments.real(self.step, "step", at_least=0))
        object.__setattr__(self, "block", _arguments.whole(self.block, "block", at_least=2))

    def identity(self, images: Tensor) -> Parameters:
        """No rounding.

        Args:
            images: [N, C, *S] float32.

        Returns:
            "steps": [N, *B] zeros, `block` along every axis.
        """
        return {"steps": images.new_zeros((len(images), *self._table(images)))}

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Steps drawn uniformly from the budget.

        Args:
            images: [N, C, *S] float32.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            "steps": [N, *B].
        """
        steps = (draw.uniform(self._table(images)) + 1) / 2 * self.step
        return self.project(images, {"steps": steps}, bounds)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The images after rounding, clipped to the bounds.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "steps" [N, *B].
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`.
        """
        low, high = bounds
        steps = parameters["steps"].unsqueeze(1)
        for axis in range(2, 2 * (images.ndim - 2) + 2, 2):  # one step for all blocks
            steps = steps.unsqueeze(axis)
        blocks = _to_blocks((images - low) * (_LEVELS / (high - low)), self.block)
        coefficients = _transform(blocks, self.block, inverse=False)
        change = _transform(self._rounded(coefficients, steps) - coefficients, self.block, inverse=True)
        return (images + _from_blocks(change, images.shape) * ((high - low) / _LEVELS)).clamp(low, high)

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Every step clipped to the budget.

        Args:
            images: [N, C, *S].
            parameters: "steps" [N, *B].
            bounds: (low, high) in image units.

        Returns:
            "steps": [N, *B].
        """
        return {"steps": parameters["steps"].detach().clamp(0, float32_at_most(self.step))}

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Nothing: rounding has a budget only.

        Args:
            images: [N, C, *S].
            parameters: "steps" [N, *B].

        Returns:
            Zeros [N] float32.
        """
        return images.new_zeros(len(images))

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The largest step in 1/255 of the image range.

        Args:
            images: [N, C, *S].
            parameters: "steps" [N, *B].
            bounds: (low, high) in image units.

        Returns:
            [N] float64, at most `step` for projected parameters.
        """
        return parameters["steps"].detach().flatten(1).amax(dim=1).double()

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The largest step.

        Args:
            bounds: (low, high) in image units.

        Returns:
            "steps": in 1/255 of the image range.
        """
        return {"steps": self.step}

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the largest step is used, [N] float64."""
        return share_of(self.distance(images, parameters, bounds), self.step)

    def scaled(self, factor: float) -> FrequencyQuantisation:
        """The same with `factor` times the largest step."""
        return replace(self, step=self.step * factor)

    def _rounded(self, coefficients: Tensor, steps: Tensor) -> Tensor:
        rounded = _round_to(coefficients, steps.detach())
        if not steps.requires_grad:
            return rounded
        chords: Tensor = _BestChords.apply(steps, coefficients.detach(), float32_at_most(self.step))
        return rounded + chords

    def _table(self, images: Tensor) -> tuple[int, ...]:
        return (self.block,) * (images.ndim - 2)


def _round_to(values: Tensor, steps: Tensor) -> Tensor:
    safe = torch.where(steps > 0, steps, 1)
    scaled = values / safe
    whole = scaled.detach().round()
    return torch.where(steps > 0, (whole + (scaled - whole) ** 3) * safe, values)


class _BestChords(Function):
    """Zeros like the coefficients, whose gradient to the steps is that of `FrequencyQuantisation`."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor, coefficients: Tensor, largest: float) -> Tensor:
        ctx.save_for_backward(steps, coefficients)
        ctx.largest = largest
        return torch.zeros_like(coefficients)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        steps, coefficients = ctx.saved_tensors
        here = _round_to(coefficients, steps)
        most, slope = torch.zeros_like(steps, dtype=torch.float64), torch.zeros_like(steps)
        for number in range(_CHORDS + 1):
            there = torch.full_like(steps, ctx.largest * number / _CHORDS)
            rise = _over_blocks(gradient * (_round_to(coefficients, there) - here))
            width = there - steps
            better = (rise > most) & (width.abs() > _TOO_NEAR * ctx.largest / _CHORDS)
            most = torch.where(better, rise, most)
            slope = torch.where(better, (rise / torch.where(better, width, 1)).float(), slope)
        return slope, None, None


def _over_blocks(values: Tensor) -> Tensor:
    """Sums [N, 1, 1, block, 1, block, ...] float64 over channels and blocks."""
    return values.sum(dim=(1, *range(2, values.ndim, 2)), keepdim=True, dtype=torch.float64)


def _to_blocks(images: Tensor, block: int) -> Tensor:
    """[N, C, *S] -> [N, C, S1 / block, block, S2 / block, block, ...], borders repeated."""
    size = images.shape[2:]
    missing = [(0, -n % block) for n in reversed(size)]
    whole = pad(images, [side for sides in missing for side in sides], mode="replicate")
    cut = [part for n in whole.shape[2:] for part in (n // block, block)]
    return whole.reshape(*images.shape[:2], *cut)


def _from_blocks(blocks: Tensor, shape: torch.Size) -> Tensor:
    whole = blocks.reshape(*shape[:2], *(blocks.shape[d] * blocks.shape[d + 1] for d in range(2, blocks.ndim, 2)))
    for axis, n in enumerate(shape[2:], start=2):
        whole = whole.narrow(axis, 0, n)
    return whole


def _transform(blocks: Tensor, block: int, inverse: bool) -> Tensor:
    """The orthonormal cosine transform (DCT-II) along every axis of every block."""
    matrix = _cosines(block).to(blocks.device)
    matrix = matrix.mT if inverse else matrix
    for axis in range(3, blocks.ndim, 2):
        blocks = (matrix @ blocks.movedim(axis, -2)).movedim(-2, axis)
    return blocks


@lru_cache(maxsize=8)
def _cosines(block: int) -> Tensor:
    order = torch.arange(block, dtype=torch.float64)
    matrix = torch.cos(math.pi * order[:, None] * (2 * order + 1) / (2 * block)) * math.sqrt(2 / block)
    matrix[0] /= math.sqrt(2)
    return matrix.float()
