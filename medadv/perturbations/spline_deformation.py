"""A smooth deformation: the image sampled where a cubic B-spline moves its voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv._words import Interpolation, Padding
from medadv.perturbations.motion import PADDINGS, largest_length, share_of, shorten
from medadv.perturbations.perturbation import Bounds, Draw, Parameters
from medadv.perturbations.spacing import spacing_of, voxels_between

# Halvings of the interval in which the largest scale without folding is looked for: to 2^-12 of the displacement.
_HALVINGS = 12


@dataclass(frozen=True)
class SplineDeformation:
    """x(p + d(p)), d a cubic B-spline, with the length of d and the folding of p + d(p) limited.

    A spline stays within the convex hull of its control points: where each of them is a vector of at most
    `displacement` voxels, so is d at every voxel (a margin of 2^-20 is left for rounding). Where a determinant falls
    below `jacobian`, the whole deformation of that image is scaled down until none does.

    Args:
        displacement: largest length of d in voxels, at least 0.
        spacing: distance of control points in voxels, one number or one per axis; None: a quarter of the largest axis.
        jacobian: smallest Jacobian determinant of p + d(p), over cells of neighbouring voxels
            (`medadv.ops.jacobian_determinant`), below 1; above 0 nothing folds; None: no limit.
        interpolation: "linear" or "cubic".
        padding: what lies outside the image: its "border" voxels or its "reflection".
        smoothness: weight of the bending energy of d (per voxel, voxel units) that is subtracted from the objective,
            at least 0.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> deformation = SplineDeformation(displacement=2.0, spacing=8)
    >>> x = torch.arange(16.0).expand(1, 1, 16, 16) / 15
    >>> lattice = torch.zeros_like(deformation.identity(x)["lattice"])
    >>> lattice[:, 1] = 1.0  # one voxel to the right
    >>> deformation.apply(x, {"lattice": lattice}, (0.0, 1.0))[0, 0, 0, :3] * 15
    tensor([1., 2., 3.])
    """

    displacement: float
    spacing: float | tuple[float, ...] | None = None
    jacobian: float | None = None
    interpolation: Interpolation = "linear"
    padding: Padding = "border"
    smoothness: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "displacement", _arguments.real(self.displacement, "displacement", at_least=0))
        object.__setattr__(self, "spacing", spacing_of(self.spacing))
        if self.jacobian is not None:
            object.__setattr__(self, "jacobian", _arguments.real(self.jacobian, "jacobian", below=1))
        _arguments.choice(self.interpolation, "interpolation", ("linear", "cubic"))
        _arguments.choice(self.padding, "padding", PADDINGS)
        object.__setattr__(self, "smoothness", _arguments.real(self.smoothness, "smoothness", at_least=0))

    def identity(self, images: Tensor) -> Parameters:
        """No motion.

        Args:
            images: [N, C, *S] float32.

        Returns:
            "lattice": [N, D, *G] zeros, one component per axis.
        """
        return {"lattice": images.new_zeros((len(images), *self._lattice_shape(images)))}

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Control vectors drawn uniformly from a cube around the budget, then projected into it.

        Args:
            images: [N, C, *S] float32.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            "lattice": [N, D, *G].
        """
        lattice = draw.uniform(self._lattice_shape(images)) * self.displacement
        return self.project(images, {"lattice": lattice}, bounds)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The moved images, clipped to the bounds (which cubic interpolation may overshoot).

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "lattice" [N, D, *G].
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`.
        """
        return ops.spline_warp(images, parameters["lattice"], self.interpolation, self.padding).clamp(*bounds)

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Control vectors cut to the largest displacement, then scaled down where they fold too much.

        Args:
            images: [N, C, *S].
            parameters: "lattice" [N, D, *G].
            bounds: (low, high) in image units.

        Returns:
            "lattice": [N, D, *G].
        """
        lattice = shorten(parameters["lattice"].detach(), self.displacement)
        if self.jacobian is None:
            return {"lattice": lattice}
        return {"lattice": _unfold(lattice, tuple(images.shape[2:]), self.jacobian)}

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """`smoothness` times the bending energy of d per voxel.

        Args:
            images: [N, C, *S].
            parameters: "lattice" [N, D, *G].

        Returns:
            [N] float32, at least 0.
        """
        if self.smoothness == 0:
            return images.new_zeros(len(images))
        size = tuple(images.shape[2:])
        return ops.bending_energy(parameters["lattice"], size) * (self.smoothness / math.prod(size))

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Largest displacement over all voxels, in voxels.

        Args:
            images: [N, C, *S].
            parameters: "lattice" [N, D, *G].
            bounds: (low, high) in image units.

        Returns:
            [N] float64, at most `displacement` for projected parameters.
        """
        return largest_length(ops.spline_field(parameters["lattice"].detach(), tuple(images.shape[2:])))

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The largest displacement.

        Args:
            bounds: (low, high) in image units.

        Returns:
            "lattice": in voxels.
        """
        return {"lattice": self.displacement}

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the largest displacement is used, [N] float64."""
        return share_of(self.distance(images, parameters, bounds), self.displacement)

    def scaled(self, factor: float) -> SplineDeformation:
        """The same with `factor` times the largest displacement."""
        return replace(self, displacement=self.displacement * factor)

    def _lattice_shape(self, images: Tensor) -> tuple[int, ...]:
        size = tuple(images.shape[2:])
        return (len(size), *ops.lattice_shape(size, voxels_between(self.spacing, size)))


def _unfold(lattice: Tensor, size: tuple[int, ...], limit: float) -> Tensor:
    """Lattices scaled towards 0 until no determinant is below the limit; those that keep it are left as they are."""
    rows = (_smallest_determinant(lattice, size) < limit).nonzero().flatten()
    if len(rows) == 0:
        return lattice
    folding = lattice[rows]
    kept, too_much = torch.zeros(2, len(rows), device=lattice.device)
    too_much += 1
    for _ in range(_HALVINGS):
        middle = (kept + too_much) / 2
        holds = _smallest_determinant(_scaled(folding, middle), size) >= limit
        kept, too_much = torch.where(holds, middle, kept), torch.where(holds, too_much, middle)
    unfolded = lattice.clone()
    unfolded[rows] = _scaled(folding, kept)
    return unfolded


def _smallest_determinant(lattice: Tensor, size: tuple[int, ...]) -> Tensor:
    return ops.jacobian_determinant(ops.spline_field(lattice, size)).flatten(1).amin(dim=1)


def _scaled(lattice: Tensor, factor: Tensor) -> Tensor:
    return lattice * factor.reshape(-1, *[1] * (lattice.ndim - 1))
