"""A polynomial bias field: the image multiplied by the exponential of a polynomial in coordinates that may move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv.perturbations.gain import multiplied
from medadv.perturbations.motion import share_of
from medadv.perturbations.perturbation import Bounds, Draw, Parameters

Basis = Literal["legendre", "monomial"]
CoordinateWarp = Literal["thin_plate", "flow"]

BASES = ("legendre", "monomial")
WARPS = ("thin_plate", "flow")

# Room for rounding: x times a float32 limit, and x - low, are each off by at most 2^-23 of it.
_ROUNDING = 2.0**-20

# Largest sum of the magnitudes of a field's coefficients, so that no gain leaves the range of float32.
_LARGEST_SUM = 40.0

# The sibling code's step for the displacement, 0.01, is a tenth of its step for the coefficients of an unlimited gain.
_CONTROL_RADIUS = 0.1


@dataclass(frozen=True)
class PolynomialBiasField:
    """low + (x - low) exp(b), clipped to the bounds, b a polynomial in the coordinates of a voxel.

    b is the sum of a_tl P_t(v) P_l(u) over t + l <= degree (`medadv.ops.polynomial_bias_field`), after Tian et al.,
    "Bias field poses a threat to DNN-based X-ray recognition" (2021). With `warp` the coordinates v and u move first
    and b is tuned locally. A control point stays within half a cell of its place and inside the image, so that a flow
    neither folds nor leads where a polynomial of high degree grows fast.

    A polynomial is no bounded function of its coefficients, so the limit is on the field, voxel by voxel: where b goes
    beyond log(gain), less a margin of 2^-20 for rounding, it is cut off there, and gives no gradient. (To scale b down
    as a whole would let the sign of every gradient weigh the same for ever, and no such search finds even the brightest
    field.) The budget then holds for the returned float32 image to the last bit, as for `SplineBiasField`.

    Args:
        gain: largest factor, above 1: 1.3 allows 1 / 1.3 to 1.3; None: no limit, as in the paper.
        degree: of the polynomial, from 0 to 12.
        basis: "legendre" or "monomial", the paper's, in which the coefficients of high powers work against each other.
        warp: "thin_plate" (the paper's), "flow", linear between the control points, or None.
        grid: control points, one number or one per axis, at least 2; without effect where there is no warp.
        per_channel: one field for each channel instead of one for all.
        sparsity: weight of the mean of b^2 that is subtracted from the objective, at least 0.
        smoothness: weight of the squared differences of neighbouring control displacements, per control point, that is
            subtracted from the objective, at least 0.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> field = PolynomialBiasField(gain=1.3, degree=1, warp=None)
    >>> x = torch.full((1, 1, 16, 16), 0.5)
    >>> strongest = field.project(x, {"coefficients": torch.tensor([[[9.0, 0.0, 0.0]]])}, (0.0, 1.0))
    >>> round(float(field.apply(x, strongest, (0.0, 1.0)).max()), 4)
    0.65
    """

    gain: float | None
    degree: int = 10
    basis: Basis = "legendre"
    warp: CoordinateWarp | None = "thin_plate"
    grid: int | tuple[int, ...] = 8
    per_channel: bool = False
    sparsity: float = 0.0
    smoothness: float = 0.0

    def __post_init__(self) -> None:
        if self.gain is not None:
            object.__setattr__(self, "gain", _arguments.real(self.gain, "gain", above=1))
            if self._log_gain <= 0:
                raise ValueError(f"gain must be above 1 by more than the rounding of float32, got {self.gain!r}.")
        object.__setattr__(self, "degree", _arguments.whole(self.degree, "degree", at_least=0, below=13))
        _arguments.choice(self.basis, "basis", BASES)
        if self.warp is not None:
            _arguments.choice(self.warp, "warp", WARPS)
        object.__setattr__(self, "grid", _grid_of(self.grid))
        _arguments.flag(self.per_channel, "per_channel")
        object.__setattr__(self, "sparsity", _arguments.real(self.sparsity, "sparsity", at_least=0))
        object.__setattr__(self, "smoothness", _arguments.real(self.smoothness, "smoothness", at_least=0))

    def identity(self, images: Tensor) -> Parameters:
        """A gain of 1 everywhere.

        Args:
            images: [N, C, *S] float32.

        Returns:
            "coefficients": [N, K, M] zeros, K = 1, or C where `per_channel`, one for each term
            (`medadv.ops.polynomial_terms`). With a warp "control": [N, D, *G] zeros, displacements in units of the
            coordinates (2 is the whole axis), one component per axis.
        """
        return {name: images.new_zeros((len(images), *shape)) for name, shape in self._shapes(images).items()}

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Coefficients drawn uniformly, the more terms the smaller, and control points from their cells.

        Args:
            images: [N, C, *S] float32.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            As `identity` names them.
        """
        shapes = self._shapes(images)
        lengths = {"coefficients": self.radii(bounds)["coefficients"] / math.sqrt(shapes["coefficients"][-1])}
        drawn = {name: draw.uniform(shape) * lengths.get(name, 1.0) for name, shape in shapes.items()}
        return self.project(images, drawn, bounds)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """low + (x - low) exp(b), within the gain, clipped to the bounds.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: as `identity` names them.
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`; the gradient is zero where the gain or the image is cut off.
        """

        def multiply(above: Tensor) -> Tensor:
            scaled = self._times_field(above, parameters)
            if self.gain is None:
                return scaled
            largest = math.exp(self._log_gain)
            return torch.minimum(torch.maximum(scaled, above / largest), above * largest)

        return multiplied(images, bounds, multiply)

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Control points moved back to their cells; the gain is limited by `apply`.

        Coefficients are left as they are unless the magnitudes of a field's sum to more than 40 (a gain of e^40): then
        they are scaled, so that nothing overflows.

        Args:
            images: [N, C, *S].
            parameters: as `identity` names them.
            bounds: (low, high) in image units.

        Returns:
            As `identity` names them.
        """
        coefficients = parameters["coefficients"].detach()
        total = coefficients.abs().sum(dim=2, keepdim=True, dtype=torch.float64)
        scaled = (coefficients * (_LARGEST_SUM / total)).float()
        inside = {"coefficients": torch.where(total > _LARGEST_SUM, scaled, coefficients)}
        if self.warp is not None:
            low, high = _cells(parameters["control"])
            inside["control"] = torch.maximum(torch.minimum(parameters["control"].detach(), high), low)
        return inside

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """`sparsity` times the mean of b^2, plus `smoothness` times the roughness of the control displacement.

        Args:
            images: [N, C, *S].
            parameters: as `identity` names them.

        Returns:
            [N] float32, at least 0.
        """
        total = images.new_zeros(len(images), dtype=torch.float64)
        if self.sparsity > 0:
            field = self._field(images, parameters)
            total = total + self.sparsity * field.square().flatten(1).mean(dim=1, dtype=torch.float64)
        if self.smoothness > 0 and self.warp is not None:
            control = parameters["control"]
            rough = [control.diff(dim=axis).square().flatten(1) for axis in range(2, control.ndim)]
            points = math.prod(control.shape[2:])
            total = total + self.smoothness / points * torch.cat(rough, 1).sum(1, dtype=torch.float64)
        return total.float()

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Largest gain of the field, or of its inverse, over all voxels.

        Args:
            images: [N, C, *S].
            parameters: as `identity` names them.
            bounds: (low, high) in image units.

        Returns:
            [N] float64, 1 for no change, at most `gain`.
        """
        largest = self.log_gain(images, parameters).abs().flatten(1).amax(dim=1).double()
        return largest.clamp_max(self._log_gain).exp()

    def log_gain(self, images: Tensor, parameters: Parameters) -> Tensor:
        """The field b, within the gain.

        Args:
            images: [N, C, *S].
            parameters: as `identity` names them.

        Returns:
            [N, K, *S] float32, without gradient.
        """
        return self._field(images, {name: values.detach() for name, values in parameters.items()})

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The largest log gain, 1 where there is no limit; and a tenth of half an axis.

        So a step of 0.1 is the sibling code's 0.1 of the coefficients, as parts of the log gain, and its 0.01 of the
        displacement.

        Args:
            bounds: (low, high) in image units.

        Returns:
            "coefficients": of b; with a warp "control": in units of the coordinates.
        """
        of_coefficients = {"coefficients": 1.0 if self.gain is None else self._log_gain}
        return of_coefficients if self.warp is None else {**of_coefficients, "control": _CONTROL_RADIUS}

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the largest log gain is used, [N] float64; 0 where there is no limit."""
        return share_of(self.distance(images, parameters, bounds).log(), self._log_gain)

    def scaled(self, factor: float) -> PolynomialBiasField:
        """The same with `factor` times the largest log gain."""
        return self if self.gain is None else replace(self, gain=self.gain**factor)

    @property
    def _log_gain(self) -> float:
        return math.inf if self.gain is None else math.log(self.gain) - _ROUNDING

    def _shapes(self, images: Tensor) -> dict[str, tuple[int, ...]]:
        axes = images.ndim - 2
        fields = images.shape[1] if self.per_channel else 1
        shapes: dict[str, tuple[int, ...]] = {"coefficients": (fields, len(ops.polynomial_terms(self.degree, axes)))}
        if self.warp is not None:
            grid = (self.grid,) * axes if isinstance(self.grid, int) else self.grid
            if len(grid) != axes:
                raise ValueError(f"grid must be one number or one per axis of the image ({axes}), got {self.grid!r}.")
            shapes["control"] = (axes, *grid)
        return shapes

    def _field(self, images: Tensor, parameters: Parameters) -> Tensor:
        ones = images.new_ones((len(images), parameters["coefficients"].shape[1], *images.shape[2:]))
        return self._times_field(ones, parameters).log().clamp(-self._log_gain, self._log_gain)

    def _times_field(self, images: Tensor, parameters: Parameters) -> Tensor:
        return ops.polynomial_bias_field(
            images,
            parameters["coefficients"],
            parameters.get("control"),
            degree=self.degree,
            basis=self.basis,
            warp=self.warp,
        )


def _grid_of(grid: object) -> int | tuple[int, ...]:
    if isinstance(grid, Sequence) and not isinstance(grid, str):
        if len(grid) not in (2, 3):
            raise ValueError(f"grid must be one number or one per axis of the image (2 or 3), got {grid!r}.")
        return tuple(_arguments.whole(points, "grid", at_least=2) for points in grid)
    return _arguments.whole(grid, "grid", at_least=2)


def _cells(control: Tensor) -> tuple[Tensor, Tensor]:
    """How far control points may go down and up: half a cell, and not out of the image; each [D, *G]."""
    axes = control.ndim - 2
    low, high = [], []
    for axis, points in enumerate(control.shape[2:]):
        shape = [points if each == axis else 1 for each in range(axes)]
        place = torch.linspace(-1, 1, points, dtype=control.dtype, device=control.device).reshape(shape)
        half = 1 / (points - 1)
        low.append((-1 - place).clamp_min(-half).expand(control.shape[2:]))
        high.append((1 - place).clamp_max(half).expand(control.shape[2:]))
    return torch.stack(low), torch.stack(high)
