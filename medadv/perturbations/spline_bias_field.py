"""A smooth bias field: the image multiplied by the exponential of a cubic B-spline."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from medadv import _arguments, ops
from medadv.perturbations.gain import multiplied
from medadv.perturbations.motion import share_of
from medadv.perturbations.perturbation import Bounds, Draw, Parameters
from medadv.perturbations.rounding import float32_at_most
from medadv.perturbations.spacing import spacing_of, voxels_between

# Room for rounding: relative error of the float32 spline (three axes of four products, weights that sum to 1 but for
# some 2^-24), of exp and of the product. Together below 2^-20 (1 + log gain); half of the room is reserve.
_ROUNDING = 2.0**-19


@dataclass(frozen=True)
class SplineBiasField:
    """low + (x - low) exp(B), clipped to the bounds, with the gain exp(B) in [1 / gain, gain] at every voxel.

    B is a cubic B-spline of a lattice of log gains (`medadv.ops.bias_field`). A spline stays within the range of its
    control points, so every control point is kept within log(gain), less a margin of 2^-19 (1 + log gain) for rounding.
    The budget then holds for the returned float32 image to the last bit: with u = x - low and v = y - low, both exact,
    u / gain <= v <= gain u at every voxel where u / gain is a normal float32 number (above 1.2e-38); below that, and
    only there, the last bit is coarser than the budget. Clipping brings y nearer to x and cannot break it.

    Args:
        gain: largest factor, above 1: 1.3 allows 1 / 1.3 to 1.3.
        spacing: distance of control points in voxels, one number or one per axis; None: a quarter of the largest axis
            of the image.
        per_channel: one field for each channel instead of one for all.
        smoothness: weight of the mean bending energy of B (per voxel, voxel units) that is subtracted from the
            objective, at least 0.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> field = SplineBiasField(gain=1.3, spacing=8)
    >>> x = torch.full((1, 1, 16, 16), 0.5)
    >>> strongest = field.project(x, {"lattice": torch.full_like(field.identity(x)["lattice"], 9.0)}, (0.0, 1.0))
    >>> round(float(field.apply(x, strongest, (0.0, 1.0)).max()), 4)
    0.65
    """

    gain: float
    spacing: float | tuple[float, ...] | None = None
    per_channel: bool = False
    smoothness: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", _arguments.real(self.gain, "gain", above=1))
        if self._log_gain() <= 0:
            raise ValueError(f"gain must be above 1 by more than the rounding of float32, got {self.gain!r}.")
        object.__setattr__(self, "spacing", spacing_of(self.spacing))
        _arguments.flag(self.per_channel, "per_channel")
        object.__setattr__(self, "smoothness", _arguments.real(self.smoothness, "smoothness", at_least=0))

    def identity(self, images: Tensor) -> Parameters:
        """A gain of 1 everywhere.

        Args:
            images: [N, C, *S] float32.

        Returns:
            "lattice": [N, K, *G] zeros, K = 1, or C where `per_channel`.
        """
        return {"lattice": images.new_zeros((len(images), *self._lattice_shape(images)))}

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Control points drawn uniformly from the budget.

        Args:
            images: [N, C, *S] float32.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            "lattice": [N, K, *G].
        """
        lattice = draw.uniform(self._lattice_shape(images)) * self._log_gain()
        return self.project(images, {"lattice": lattice}, bounds)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """low + (x - low) exp(B), clipped to the bounds.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "lattice" [N, K, *G].
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`; the gradient to the lattice is zero where they are clipped.
        """
        return multiplied(images, bounds, lambda above: ops.bias_field(above, parameters["lattice"]))

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Every control point clipped to the budget.

        Args:
            images: [N, C, *S].
            parameters: "lattice" [N, K, *G].
            bounds: (low, high) in image units.

        Returns:
            "lattice": [N, K, *G].
        """
        largest = self._log_gain()
        return {"lattice": parameters["lattice"].detach().clamp(-largest, largest)}

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """`smoothness` times the bending energy of B per voxel.

        Args:
            images: [N, C, *S].
            parameters: "lattice" [N, K, *G].

        Returns:
            [N] float32, at least 0.
        """
        if self.smoothness == 0:
            return images.new_zeros(len(images))
        size = tuple(images.shape[2:])
        return ops.bending_energy(parameters["lattice"], size) * (self.smoothness / math.prod(size))

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Largest gain of the field, or of its inverse, over all voxels.

        Args:
            images: [N, C, *S].
            parameters: "lattice" [N, K, *G].
            bounds: (low, high) in image units.

        Returns:
            [N] float64, 1 for no change, at most `gain` for projected parameters.
        """
        return self.log_gain(images, parameters).abs().flatten(1).amax(dim=1).double().exp()

    def log_gain(self, images: Tensor, parameters: Parameters) -> Tensor:
        """The field B.

        Args:
            images: [N, C, *S].
            parameters: "lattice" [N, K, *G].

        Returns:
            [N, K, *S] float32, without gradient.
        """
        return ops.spline_field(parameters["lattice"].detach(), tuple(images.shape[2:]))

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The largest log gain.

        Args:
            bounds: (low, high) in image units.

        Returns:
            "lattice": log(gain), less the margin for rounding.
        """
        return {"lattice": self._log_gain()}

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the largest log gain is used, [N] float64."""
        return share_of(self.distance(images, parameters, bounds).log(), math.log(self.gain))

    def scaled(self, factor: float) -> SplineBiasField:
        """The same with `factor` times the largest log gain."""
        return replace(self, gain=self.gain**factor)

    def _log_gain(self) -> float:
        log_gain = math.log(self.gain)
        return float32_at_most(log_gain - _ROUNDING * (1 + log_gain))

    def _lattice_shape(self, images: Tensor) -> tuple[int, ...]:
        size = tuple(images.shape[2:])
        spacing = voxels_between(self.spacing, size)
        return (images.shape[1] if self.per_channel else 1, *ops.lattice_shape(size, spacing))
