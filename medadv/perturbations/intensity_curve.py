"""A monotone change of intensities: another window, then another gamma."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv import _arguments
from medadv.perturbations.motion import share_of
from medadv.perturbations.perturbation import Bounds, Draw, Parameters
from medadv.perturbations.rounding import float32_at_most

# Room for the rounding of exp and log between a gamma and its logarithm.
_ROUNDING = 2.0**-20


@dataclass(frozen=True)
class IntensityCurve:
    """low + (high - low) v^g, with v the place of x in a window [a, b] that may differ from the bounds, clipped.

    Ours: what a display does to a radiograph (window and gamma), monotone, so that no voxel overtakes another.

    Args:
        gamma: largest exponent, at least 1: 1.5 allows 1 / 1.5 to 1.5.
        window: how far each end of the window may move, as a fraction of the image range, from 0 to below 0.5.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> curve = IntensityCurve(gamma=2.0)
    >>> x = torch.full((1, 1, 2, 2), 0.5)
    >>> darkest = curve.project(x, {"log_gamma": torch.ones(1, 1), "ends": torch.zeros(1, 2)}, (0.0, 1.0))
    >>> round(float(curve.apply(x, darkest, (0.0, 1.0)).max()), 4)
    0.25
    """

    gamma: float
    window: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gamma", _arguments.real(self.gamma, "gamma", at_least=1))
        object.__setattr__(self, "window", _arguments.real(self.window, "window", at_least=0, below=0.5))

    def identity(self, images: Tensor) -> Parameters:
        """The curve that changes nothing.

        Args:
            images: [N, C, *S] float32.

        Returns:
            "log_gamma" [N, 1] and "ends" [N, 2] (how far a and b move, as fractions of the range), zeros.
        """
        return {"log_gamma": images.new_zeros((len(images), 1)), "ends": images.new_zeros((len(images), 2))}

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """A curve drawn uniformly (in the logarithm of gamma) from the budget.

        Args:
            images: [N, C, *S] float32.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            "log_gamma" [N, 1] and "ends" [N, 2].
        """
        drawn = {"log_gamma": draw.uniform((1,)) * math.log(self.gamma), "ends": draw.uniform((2,)) * self.window}
        return self.project(images, drawn, bounds)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The changed images.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: "log_gamma" [N, 1] and "ends" [N, 2].
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`.
        """
        low, high = bounds
        # In float64: torch's exp and log of float32 depend, in the last bit, on the batch that a voxel is in.
        ones = [1] * (images.ndim - 2)
        exponent = parameters["log_gamma"].double().exp().reshape(-1, 1, *ones)
        first, last = (end.reshape(-1, 1, *ones) for end in parameters["ends"].double().unbind(1))
        place = (images.double() - low) / (high - low)
        inside = ((place - first) / (1 + last - first)).clamp(0, 1)
        # v^g as v exp((g - 1) log v): v itself for a gamma of 1, 0 for 0, and slopes that are finite.
        curved = inside * torch.exp((exponent - 1) * torch.where(inside > 0, inside, 1).log())
        change = ((high - low) * (curved - place)).float()
        # Written as a change of x, so that the identity returns x bit for bit.
        return (images + change).clamp(low, high)

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Gamma and the ends clipped to their limits.

        Args:
            images: [N, C, *S].
            parameters: "log_gamma" [N, 1] and "ends" [N, 2].
            bounds: (low, high) in image units.

        Returns:
            The same names and shapes.
        """
        limit, window = self._log_gamma(), float32_at_most(self.window)
        return {
            "log_gamma": parameters["log_gamma"].detach().clamp(-limit, limit),
            "ends": parameters["ends"].detach().clamp(-window, window),
        }

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Nothing: the curve has a budget only.

        Args:
            images: [N, C, *S].
            parameters: as `apply` takes them.

        Returns:
            Zeros [N] float32.
        """
        return images.new_zeros(len(images))

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The exponent, or its inverse where that is larger.

        Args:
            images: [N, C, *S].
            parameters: as `apply` takes them.
            bounds: (low, high) in image units.

        Returns:
            [N] float64, 1 for no change, at most `gamma` for projected parameters.
        """
        return parameters["log_gamma"].detach().abs().flatten().double().exp()

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The limits.

        Args:
            bounds: (low, high) in image units.

        Returns:
            "log_gamma": its largest value; "ends": a fraction of the range.
        """
        return {"log_gamma": self._log_gamma(), "ends": self.window}

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the limits is used, [N] float64."""
        gamma = share_of(self.distance(images, parameters, bounds).log(), math.log(self.gamma))
        return torch.maximum(gamma, share_of(parameters["ends"].detach().abs().amax(dim=1).double(), self.window))

    def scaled(self, factor: float) -> IntensityCurve:
        """The same with `factor` times the largest log gamma and window."""
        return replace(self, gamma=self.gamma**factor, window=self.window * factor)

    def _log_gamma(self) -> float:
        return float32_at_most(math.log(self.gamma) * (1 - _ROUNDING))
