"""What every perturbation can do: the protocol that attacks search through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

Parameters = dict[str, Tensor]
"""The tensors an attack searches over, by name; each float32 with one row per image."""

Self = TypeVar("Self", bound="Perturbation")

Bounds = tuple[float, float]
"""Lowest and highest possible value of an image, in image units."""

Step = Callable[[Tensor, Parameters, Parameters, dict[str, float], Bounds], tuple[Parameters, Tensor | None]]
"""From images, parameters, gradients, lengths of the step by name, and bounds to the next parameters.

And to what `Perturbation.apply` makes of them, where that comes with the step.
"""


class Draw(Protocol):
    """Random numbers that depend on the example alone, not on the batch it is in."""

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Numbers in [-1, 1), [N, *shape] float32."""
        ...

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers, [N, *shape] float32."""
        ...


@runtime_checkable
class Perturbation(Protocol):
    """A differentiable family of image changes with a budget; implementations are frozen dataclasses.

    Images are [N, C, *S] float32 inside `bounds`, S of 2 or 3 axes. Where the only parameter has the gradient of the
    changed image itself and no penalty, and the identity gives the image to the last bit, its name may be given as
    `image_gradient` (see `image_gradient_of`). Where the distance is that of the change itself, it may be told by
    ``length(images, changed, bounds)`` (see `distance_of`). A step and the projection after it may be offered in one as
    ``step_of(rule)`` (see `fused_step_of`).
    """

    def identity(self, images: Tensor) -> Parameters:
        """The parameters that change nothing."""
        ...

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Parameters drawn inside the budget."""
        ...

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The changed images [N, C, *S] float32, inside `bounds`; differentiable in the parameters."""
        ...

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """The parameters moved into the budget: what `apply` makes of them keeps it to the last bit in float32."""
        ...

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """What is subtracted from the objective, [N], at least 0."""
        ...

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """How much of the budget is used, in the budget's own units, [N] float64."""
        ...

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """For each parameter tensor, the length that step sizes are fractions of."""
        ...

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """How much of the budget is used, from 0 (nothing) to 1 (all), [N] float64."""
        ...

    def scaled(self: Self, factor: float) -> Self:
        """The same family with `factor` times the budget, from 0 to 1."""
        ...


def image_gradient_of(perturbation: Perturbation) -> str | None:
    """The parameter whose gradient is that to the changed image, so that no graph leads through `apply`; or None."""
    name: str | None = getattr(perturbation, "image_gradient", None)
    return name


def fused_step_of(perturbation: Perturbation, rule: str) -> Step | None:
    """A step of a search's rule ("sign", "l2", ...) that ends inside the budget, where it is offered in one."""
    offered: Callable[[str], Step | None] | None = getattr(perturbation, "step_of", None)
    return None if offered is None else offered(rule)


def distance_of(
    perturbation: Perturbation, images: Tensor, parameters: Parameters, changed: Tensor, bounds: Bounds
) -> Tensor:
    """`Perturbation.distance` where the changed images are at hand, so that they need not be made again.

    Args:
        perturbation: what made the change.
        images: [N, C, *S] float32 inside `bounds`.
        parameters: of the change.
        changed: [N, C, *S], what `apply` makes of the two.
        bounds: (low, high) in image units.

    Returns:
        [N] float64.
    """
    length: Callable[[Tensor, Tensor, Bounds], Tensor] | None = getattr(perturbation, "length", None)
    return perturbation.distance(images, parameters, bounds) if length is None else length(images, changed, bounds)
