"""Additive noise within an L-infinity, L2 or L1 ball."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv._graph import without_graph
from medadv._words import RowNorm, row_norm
from medadv.perturbations.l1_ball import project_onto_l1
from medadv.perturbations.motion import share_of
from medadv.perturbations.perturbation import Bounds, Draw, Parameters, Step
from medadv.perturbations.rounding import float32_at_most

NORMS = ("linf", "l2", "l1")

# Past the doors of `ops`, which take a fifth of the time of a step of small images: what comes here was checked before.
_SIGN_STEP = torch.ops.medadv.sign_step.default
_ROW_LENGTHS = torch.ops.medadv.row_lengths.default

# The factor is rounded to float32, and so is each entry: by 2^-24 of it at most. Twice their sum is on the safe side.
_SHRINK = 1.0 - 2.0**-22


@dataclass(frozen=True)
class Additive:
    """x + noise, clipped to the image bounds, with the length of the change limited.

    The budget holds for the returned float32 image to the last bit: the largest change of a voxel ("linf"), or the
    Euclidean length of the change over all voxels and channels ("l2"), or the sum of the changes' absolute values
    ("l1"), is at most eps (high - low), in exact arithmetic, and so also when ``image - x`` is computed in float32 and
    compared with that product as a Python float or as a float32 ("linf"), or when the length is computed in float64
    ("l2", "l1"). It is kept by construction: the radius is a float32 rounded down, and x + noise rounds towards x.

    Args:
        eps: radius as a fraction of high - low, at least 0.
        norm: "linf", "l2" or "l1".

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> noise = Additive(eps=0.1)
    >>> x = torch.full((1, 1, 2, 2), 0.95)
    >>> inside = noise.project(x, {"noise": torch.ones_like(x)}, (0.0, 1.0))
    >>> float(noise.apply(x, inside, (0.0, 1.0)).max())
    1.0
    """

    eps: float
    norm: str = "linf"

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", _arguments.real(self.eps, "eps", at_least=0))
        _arguments.choice(self.norm, "norm", NORMS)

    @property
    def image_gradient(self) -> str | None:
        """The noise, but for "l1", where `apply` holds back what leads beyond the bounds, and for another `apply`."""
        return "noise" if self.norm != "l1" and type(self).apply is Additive.apply else None

    def identity(self, images: Tensor) -> Parameters:
        """No noise.

        Args:
            images: [N, C, *S] float32.

        Returns:
            "noise": [N, C, *S] zeros.
        """
        return {"noise": torch.zeros_like(images, memory_format=torch.contiguous_format)}

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Noise drawn uniformly from the ball, then projected into the image bounds.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            "noise": [N, C, *S].
        """
        shape = tuple(images.shape[1:])
        radius = self._radius(bounds)
        if self.norm == "linf":
            return self.project(images, {"noise": draw.uniform(shape) * radius}, bounds)
        if self.norm == "l1":
            return self.project(images, {"noise": _in_l1_ball(draw, shape, radius)}, bounds)
        direction = draw.normal(shape).double()
        volume = (draw.uniform((1,)).double() + 1) / 2
        length = radius * volume ** (1 / direction[0].numel())
        noise = direction * _per_image(
            length.flatten() / ops.row_lengths(direction, "l2").clamp_min(1e-300), images.ndim
        )
        return self.project(images, {"noise": noise.float()}, bounds)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """x + noise, rounded towards x and clipped to the bounds.

        The gradient to noise and image is the identity, also where the sum is rounded or clipped: noise that was
        projected is clipped by a rounding error at most. Only for "l1" the gradient to the noise is zero where the
        image is at a bound and the gradient leads beyond, so that a step along the few largest entries of the gradient
        is not spent on voxels that are full.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "noise" [N, C, *S].
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`.
        """
        noise = parameters["noise"]
        if self.norm == "l1" and noise.requires_grad and torch.is_grad_enabled():
            # As `project` clips it: the sum may lie a rounding error inside.
            full, empty = noise.detach() >= bounds[1] - images, noise.detach() <= bounds[0] - images
            noise = noise * 1.0
            noise.register_hook(lambda grad: grad.masked_fill((full & (grad > 0)) | (empty & (grad < 0)), 0.0))
        return ops.add_noise(images, noise, bounds)

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Noise inside the bounds and the ball.

        Clipped ("linf"); clipped to the bounds, then shortened ("l2"); or the nearest noise inside both ("l1").

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "noise" [N, C, *S].
            bounds: (low, high) in image units.

        Returns:
            "noise": [N, C, *S].
        """
        noise = parameters["noise"].detach()
        if self.norm != "l1":
            return {"noise": ops.project_noise(images, noise, bounds, self._radius(bounds), self._norm)}
        return {"noise": self._into_l1_ball(noise, bounds[0] - images, bounds[1] - images, bounds)}

    def into_ball(self, noise: Tensor, bounds: Bounds) -> Tensor:
        """Noise inside the ball, whatever the image: `apply` clips what does not fit into one.

        Clipped ("linf"), shortened ("l2"), or the nearest noise in the ball ("l1").

        Args:
            noise: [N, C, *S] float32.
            bounds: (low, high) in image units.

        Returns:
            [N, C, *S] float32.
        """
        if self.norm == "l1":
            unlimited = torch.full_like(noise, torch.inf)
            return self._into_l1_ball(noise, -unlimited, unlimited, bounds)
        anywhere = (-math.inf, math.inf)
        return ops.project_noise(torch.zeros_like(noise), noise, anywhere, self._radius(bounds), self._norm)

    def step_of(self, rule: str) -> Step | None:
        """A step and the projection after it in one: of "sign" in "linf", of "l2" in "l2".

        Args:
            rule: of the step.

        Returns:
            From images, parameters, gradients, lengths and bounds to the next parameters, and what they make of the
            images where that comes with them; None for other rules.
        """
        return {("linf", "sign"): self._sign_step, ("l2", "l2"): self._unit_step}.get((self.norm, rule))

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Nothing: noise has a budget only.

        Args:
            images: [N, C, *S].
            parameters: "noise" [N, C, *S].

        Returns:
            Zeros [N] float32.
        """
        return images.new_zeros(len(images))

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Length of the change that `apply` really makes, as a fraction of high - low.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "noise" [N, C, *S].
            bounds: (low, high) in image units.

        Returns:
            [N] float64, at most `eps` for projected parameters.
        """
        return self.length(images, self.apply(images, parameters, bounds), bounds)

    def length(self, images: Tensor, changed: Tensor, bounds: Bounds) -> Tensor:
        """Length of a change, as a fraction of high - low.

        Args:
            images, changed: [N, C, *S] float32.
            bounds: (low, high) in image units.

        Returns:
            [N] float64.
        """
        changed, images, scale = without_graph(changed), without_graph(images), bounds[1] - bounds[0]
        lengths: Tensor = _ROW_LENGTHS(changed, images, row_norm("row_lengths", self.norm))
        return lengths if scale == 1 else lengths / scale

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The radius of the ball.

        Args:
            bounds: (low, high) in image units.

        Returns:
            "noise": the radius in image units.
        """
        return {"noise": self._radius(bounds)}

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the radius is used, [N] float64."""
        return share_of(self.distance(images, parameters, bounds), self.eps)

    def scaled(self, factor: float) -> Additive:
        """The same with `factor` times the radius."""
        return replace(self, eps=self.eps * factor)

    @property
    def _norm(self) -> RowNorm:
        return cast(RowNorm, self.norm)

    def _sign_step(
        self, images: Tensor, parameters: Parameters, gradients: Parameters, lengths: dict[str, float], bounds: Bounds
    ) -> tuple[Parameters, Tensor]:
        noise, gradient = parameters["noise"], gradients["noise"]
        noise, changed = _SIGN_STEP(images, noise, gradient, lengths["noise"], *bounds, self._radius(bounds))
        return {"noise": noise}, changed

    def _unit_step(
        self, images: Tensor, parameters: Parameters, gradients: Parameters, lengths: dict[str, float], bounds: Bounds
    ) -> tuple[Parameters, None]:
        noise, gradient = parameters["noise"], gradients["noise"]
        noise = ops.unit_step(images, noise, gradient, lengths["noise"], bounds, self._radius(bounds))
        return {"noise": noise}, None

    def _into_l1_ball(self, noise: Tensor, low: Tensor, high: Tensor, bounds: Bounds) -> Tensor:
        radius = self._radius(bounds)
        clipped = noise.clamp(low, high)
        flat, lowest, highest = (values.flatten(1) for values in (noise, low, high))
        inside = project_onto_l1(flat, lowest, highest, radius * _SHRINK).reshape(noise.shape)
        fits = ops.row_lengths(clipped, "l1") <= radius
        return torch.where(_per_image(fits, noise.ndim), clipped, _towards_zero(inside))

    def _radius(self, bounds: Bounds) -> float:
        return _radius_of(self.eps, bounds[1] - bounds[0])


@lru_cache(maxsize=64)  # asked for at every step
def _radius_of(eps: float, scale: float) -> float:
    """The radius in image units, a float32."""
    radius = float32_at_most(eps * scale)
    # The quotient that `distance` reports may round up; then the next smaller float32 is the radius.
    return radius if radius / scale <= eps else float32_at_most(radius * (1 - 2.0**-30))


def _in_l1_ball(draw: Draw, shape: tuple[int, ...], radius: float) -> Tensor:
    """Uniform in the ball: exponential numbers, one more of them than voxels, over their sum; signs at random."""
    sizes, rest, signs = draw.uniform(shape), draw.uniform((1,)), draw.uniform(shape)
    sizes, rest = (-((1 - values.double()) / 2).log() for values in (sizes, rest))
    total = sizes.flatten(1).sum(dim=1) + rest.flatten()
    share = sizes / _per_image(total.clamp_min(1e-300), sizes.ndim)
    return (radius * share * torch.where(signs < 0, -1.0, 1.0)).float()


def _towards_zero(values: Tensor) -> Tensor:
    """Float64 to the float32 neighbour that is no larger in size."""
    nearest = values.float()
    return torch.where(
        nearest.double().abs() > values.abs(), torch.nextafter(nearest, torch.zeros_like(nearest)), nearest
    )


def _per_image(values: Tensor, ndim: int) -> Tensor:
    return values.reshape(-1, *[1] * (ndim - 1))
