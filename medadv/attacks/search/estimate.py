"""The gradient of a step, from the gradients at several images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from medadv import ops
from medadv.attacks.search.diversity import moved
from medadv.attacks.search.gradient import Gradient
from medadv.perturbations.perturbation import Bounds, Draw, Parameters

View = Callable[[Tensor], Tensor]
"""What is done to an image before the victim sees it, [N, C, *S] to the same shape."""

Slope = Callable[[Parameters, View, int], Parameters]
"""The gradient of the objective at these parameters, seen so, in this draw of the victim's random numbers."""

_RADIUS = 3.0  # of the Gaussian of TI-FGSM, in standard deviations


class Estimate:
    """Averages and smooths gradients as a `Gradient` says; remembers what variance tuning needs for the next step.

    Args:
        gradient: how.
        radii: for each parameter tensor, the radius of the budget in its units.
        bounds: (low, high) in image units.

    >>> import torch
    >>> estimate = Estimate(Gradient(scales=2), {"noise": 1.0}, (0.0, 1.0))
    >>> def slope(parameters, view, sample):
    ...     return {"noise": view(parameters["noise"])}
    >>> images = torch.ones(1, 1, 1, 1)
    >>> estimate({"noise": images}, None, images, slope, draw=None)["noise"].flatten()
    tensor([0.7500])
    """

    def __init__(self, gradient: Gradient, radii: dict[str, float], bounds: Bounds) -> None:
        self.gradient = gradient
        self.radii = radii
        self.bounds = bounds
        self._variance: Parameters = {}

    def __call__(
        self, parameters: Parameters, own: Parameters | None, images: Tensor, slope: Slope, draw: Draw
    ) -> Parameters:
        """The gradient to follow.

        Args:
            parameters: where it is wanted, [N, ...] each.
            own: the gradient there where it is known and part of the average, else None.
            images: [N, C, *S], only their shape matters.
            slope: the gradient at other parameters, of another view, or in another draw.
            draw: random numbers per example, the same number of them in every step.

        Returns:
            Tensors of the names and shapes of `parameters`.
        """
        gradients = self._over_views(parameters, own, images, slope, draw)
        if not (self.gradient.neighbours or self.gradient.translation):
            return gradients
        tuned = _sum(gradients, self._variance)
        if self.gradient.neighbours:
            around = self._around(parameters, images, slope, draw)
            self._variance = {name: around[name] - gradients[name] for name in gradients}
        return {name: self._blurred(values) for name, values in tuned.items()}

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these.

        Args:
            rows: bool [N].
        """
        self._variance = {name: values[rows] for name, values in self._variance.items()}

    def _around(self, parameters: Parameters, images: Tensor, slope: Slope, draw: Draw) -> Parameters:
        count, reach = self.gradient.neighbours, self.gradient.neighbourhood
        total: Parameters = {}
        for _ in range(count):
            near = {
                name: values + reach * self.radii[name] * draw.uniform(tuple(values.shape[1:]))
                for name, values in parameters.items()
            }
            total = _sum(self._over_views(near, None, images, slope, draw), total)
        return {name: values / count for name, values in total.items()}

    def _over_views(
        self, parameters: Parameters, own: Parameters | None, images: Tensor, slope: Slope, draw: Draw
    ) -> Parameters:
        count = self.gradient.samples * self.gradient.scales
        if count == 1 and own is not None:
            return own
        total: Parameters = {}
        for sample in range(self.gradient.samples):
            for number in range(self.gradient.scales):
                view = partial(self._view, number=number, motion=self._motion(images, draw))
                known = own if sample == number == 0 else None
                total = _sum(slope(parameters, view, sample) if known is None else known, total)
        return {name: values / count for name, values in total.items()}

    def _motion(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor] | None:
        return None if self.gradient.diversity is None else self.gradient.diversity.motion(images, draw)

    def _view(self, images: Tensor, number: int, motion: tuple[Tensor, Tensor] | None) -> Tensor:
        if number > 0:
            low = self.bounds[0]
            images = (low + (images - low) / 2**number).clamp(*self.bounds)
        return images if motion is None else moved(images, motion, self.bounds)

    def _blurred(self, gradient: Tensor) -> Tensor:
        if self.gradient.translation == 0:
            return gradient
        return ops.gaussian_blur(gradient, self.gradient.translation, padding="zeros", truncate=_RADIUS)


def _sum(first: Parameters, second: Parameters) -> Parameters:
    return {name: values + second[name] if name in second else values for name, values in first.items()}
