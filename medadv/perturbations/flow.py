"""A free deformation: every voxel is moved on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv._words import Padding
from medadv.perturbations.motion import PADDINGS, largest_length, share_of, shorten
from medadv.perturbations.perturbation import Bounds, Draw, Parameters

# Keeps the slope of a root finite where neighbours move alike; the flow loss of a constant flow is then 1e-4 a pair.
_ROOT = 1e-8


@dataclass(frozen=True)
class Flow:
    """x(p + f(p)) with a free vector f(p) at every voxel, and its length limited.

    Xiao et al., "Spatially transformed adversarial examples" (2018): linear interpolation, and a loss that asks
    neighbours to move alike, the sum of |f_p - f_q| over pairs of neighbours. The limit is ours.

    Args:
        displacement: largest length of f in voxels, at least 0.
        smoothness: weight of the flow loss, per voxel, that is subtracted from the objective, at least 0. (The paper's
            0.05 is for the sum over all voxels.)
        padding: what lies outside the image: its "border" voxels or its "reflection".

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> flow = Flow(displacement=1.5)
    >>> x = torch.rand(1, 1, 8, 8)
    >>> too_far = flow.project(x, {"flow": torch.full((1, 2, 8, 8), 3.0)}, (0.0, 1.0))
    >>> round(float(flow.distance(x, too_far, (0.0, 1.0))), 4)
    1.5
    """

    displacement: float
    smoothness: float = 0.0
    padding: Padding = "border"

    def __post_init__(self) -> None:
        object.__setattr__(self, "displacement", _arguments.real(self.displacement, "displacement", at_least=0))
        object.__setattr__(self, "smoothness", _arguments.real(self.smoothness, "smoothness", at_least=0))
        _arguments.choice(self.padding, "padding", PADDINGS)

    def identity(self, images: Tensor) -> Parameters:
        """No motion.

        Args:
            images: [N, C, *S] float32.

        Returns:
            "flow": [N, D, *S] zeros, one component per axis.
        """
        return {"flow": images.new_zeros((len(images), *_shape(images)))}

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Vectors drawn uniformly from a cube around the budget, then projected into it.

        Args:
            images: [N, C, *S] float32.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            "flow": [N, D, *S].
        """
        return self.project(images, {"flow": draw.uniform(_shape(images)) * self.displacement}, bounds)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The moved images.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "flow" [N, D, *S].
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`.
        """
        return ops.warp(images, parameters["flow"], "linear", self.padding).clamp(*bounds)

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Every vector cut to the largest displacement.

        Args:
            images: [N, C, *S].
            parameters: "flow" [N, D, *S].
            bounds: (low, high) in image units.

        Returns:
            "flow": [N, D, *S].
        """
        return {"flow": shorten(parameters["flow"].detach(), self.displacement)}

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """`smoothness` times the flow loss per voxel.

        Args:
            images: [N, C, *S].
            parameters: "flow" [N, D, *S].

        Returns:
            [N] float32, at least 0.
        """
        if self.smoothness == 0:
            return images.new_zeros(len(images))
        flow = parameters["flow"]
        pairs = [flow.diff(dim=axis).square().sum(dim=1).add(_ROOT).sqrt().flatten(1) for axis in range(2, flow.ndim)]
        total = torch.cat(pairs, 1).sum(1, dtype=torch.float64)
        return (total * (self.smoothness / images[0, 0].numel())).float()

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Largest displacement over all voxels, in voxels.

        Args:
            images: [N, C, *S].
            parameters: "flow" [N, D, *S].
            bounds: (low, high) in image units.

        Returns:
            [N] float64, at most `displacement` for projected parameters.
        """
        return largest_length(parameters["flow"])

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The largest displacement.

        Args:
            bounds: (low, high) in image units.

        Returns:
            "flow": in voxels.
        """
        return {"flow": self.displacement}

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the largest displacement is used, [N] float64."""
        return share_of(self.distance(images, parameters, bounds), self.displacement)

    def scaled(self, factor: float) -> Flow:
        """The same with `factor` times the largest displacement."""
        return replace(self, displacement=self.displacement * factor)


def _shape(images: Tensor) -> tuple[int, ...]:
    return (images.ndim - 2, *images.shape[2:])
