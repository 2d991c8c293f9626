"""An affine motion: the image turned, stretched and shifted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv._words import Padding
from medadv.perturbations.motion import PADDINGS, share_of
from medadv.perturbations.perturbation import Bounds, Draw, Parameters
from medadv.perturbations.rounding import float32_at_most

# Planes in which an image turns, as pairs of axes: one in 2D, three in 3D.
_PLANES = {2: ((0, 1),), 3: ((0, 1), (0, 2), (1, 2))}

# How far random motions go beyond the budget before they are clipped to it.
_BEYOND = 1.5


@dataclass(frozen=True)
class Affine:
    """x(R E (p - m) + m + t) around the middle m of the image: R turns, E stretches the axes, t shifts.

    The parameters are fractions of their limits, from -1 to 1, so that one budget, `strength`, goes for all. In 3D the
    turns in the planes (depth, height), (depth, width) and (height, width) follow one another. Voxels count as cubes.
    After AdvAffine of AdvChain (Chen et al., 2022), which turns in 2D only.

    Args:
        strength: largest fraction of each limit, from 0 to 1.
        rotation: limit of a turn in degrees, from 0 to 180.
        scaling: limit of a stretch as a factor, at least 1: 1.1 allows 1 / 1.1 to 1.1 along each axis.
        shift: limit of a shift as a fraction of the axis, at least 0.
        padding: what lies outside the image: its "border" voxels or its "reflection".

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4) / 15
    >>> quarter = {"turn": torch.ones(1, 1), "stretch": torch.zeros(1, 2), "shift": torch.zeros(1, 2)}
    >>> y = Affine(rotation=90.0).apply(x, quarter, (0.0, 1.0))
    >>> torch.allclose(y, x.rot90(-1, (2, 3)), atol=1e-6)
    True
    """

    strength: float = 1.0
    rotation: float = 10.0
    scaling: float = 1.1
    shift: float = 0.05
    padding: Padding = "border"

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", _arguments.real(self.strength, "strength", at_least=0))
        if self.strength > 1:
            raise ValueError(f"strength must be at most 1, got {self.strength!r}.")
        object.__setattr__(self, "rotation", _arguments.real(self.rotation, "rotation", at_least=0))
        if self.rotation > 180:
            raise ValueError(f"rotation must be at most 180, got {self.rotation!r}.")
        object.__setattr__(self, "scaling", _arguments.real(self.scaling, "scaling", at_least=1))
        object.__setattr__(self, "shift", _arguments.real(self.shift, "shift", at_least=0))
        _arguments.choice(self.padding, "padding", PADDINGS)

    def identity(self, images: Tensor) -> Parameters:
        """No motion.

        Args:
            images: [N, C, *S] float32.

        Returns:
            "turn" [N, 1 or 3], "stretch" and "shift" [N, D], zeros.
        """
        return {name: images.new_zeros((len(images), count)) for name, count in _counts(images).items()}

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Fractions drawn uniformly from 1.5 times the budget and clipped to it, so that a third are at its ends.

        Ours: the motions that fool a victim are often as large as can be along some parameters
        (`benchmarks/local_maxima.py`).

        Args:
            images: [N, C, *S] float32.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            "turn" [N, 1 or 3], "stretch" and "shift" [N, D].
        """
        reach = _BEYOND * self.strength
        drawn = {name: draw.uniform((count,)) * reach for name, count in _counts(images).items()}
        return self.project(images, drawn, bounds)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The moved images, by linear interpolation.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "turn" [N, 1 or 3], "stretch" and "shift" [N, D].
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`.
        """
        moved = ops.warp(images, self._displacement(images, parameters), "linear", self.padding)
        return moved.clamp(*bounds)

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Every fraction clipped to the strength.

        Args:
            images: [N, C, *S].
            parameters: "turn" [N, 1 or 3], "stretch" and "shift" [N, D].
            bounds: (low, high) in image units.

        Returns:
            The same names and shapes.
        """
        limit = float32_at_most(self.strength)
        return {name: values.detach().clamp(-limit, limit) for name, values in parameters.items()}

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Nothing: the motion has a budget only.

        Args:
            images: [N, C, *S].
            parameters: as `apply` takes them.

        Returns:
            Zeros [N] float32.
        """
        return images.new_zeros(len(images))

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Largest fraction of a limit.

        Args:
            images: [N, C, *S].
            parameters: as `apply` takes them.
            bounds: (low, high) in image units.

        Returns:
            [N] float64, at most `strength` for projected parameters.
        """
        return torch.cat([values.detach() for values in parameters.values()], 1).abs().amax(dim=1).double()

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The strength.

        Args:
            bounds: (low, high) in image units.

        Returns:
            For each parameter tensor.
        """
        return dict.fromkeys(("turn", "stretch", "shift"), self.strength)

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the strength is used, [N] float64."""
        return share_of(self.distance(images, parameters, bounds), self.strength)

    def scaled(self, factor: float) -> Affine:
        """The same with `factor` times the strength."""
        return replace(self, strength=self.strength * factor)

    def _displacement(self, images: Tensor, parameters: Parameters) -> Tensor:
        # In float64, and without a matrix product: the bits of those in float32 depend on the batch.
        size = tuple(images.shape[2:])
        turn, stretch, shift = (parameters[name].double() for name in ("turn", "stretch", "shift"))
        linear = self._matrix(turn, stretch) - torch.eye(len(size), dtype=torch.float64, device=images.device)
        axes = [torch.arange(n, device=images.device, dtype=torch.float64) - (n - 1) / 2 for n in size]
        from_middle = torch.meshgrid(*axes, indexing="ij")
        moved = shift * self.shift * torch.tensor(size, dtype=torch.float64, device=images.device)
        moved = moved.reshape(*moved.shape, *[1] * len(size))
        for axis, place in enumerate(from_middle):
            moved = moved + linear[:, :, axis].reshape(*moved.shape[:2], *[1] * len(size)) * place
        return moved.float()

    def _matrix(self, turn: Tensor, stretch: Tensor) -> Tensor:
        axes = stretch.shape[1]
        matrix = torch.diag_embed(torch.exp(stretch * math.log(self.scaling)))
        for plane, angle in zip(_PLANES[axes], (turn * math.radians(self.rotation)).unbind(1), strict=True):
            matrix = _rotation(angle, plane, axes) @ matrix
        return matrix


def _counts(images: Tensor) -> dict[str, int]:
    axes = images.ndim - 2
    return {"turn": len(_PLANES[axes]), "stretch": axes, "shift": axes}


def _rotation(angle: Tensor, plane: tuple[int, int], axes: int) -> Tensor:
    """[N, axes, axes], from the first axis of the plane to the second."""
    first, second = plane
    generator = torch.zeros(axes, axes, dtype=angle.dtype, device=angle.device)
    generator[second, first], generator[first, second] = 1.0, -1.0
    in_plane = generator @ generator.mT
    identity = torch.eye(axes, dtype=angle.dtype, device=angle.device)
    return (identity - in_plane) + in_plane * angle.cos()[:, None, None] + generator * angle.sin()[:, None, None]
