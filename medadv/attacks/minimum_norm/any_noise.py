"""Noise without a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv.perturbations import Additive, Parameters
from medadv.perturbations.perturbation import Bounds


@dataclass(frozen=True)
class AnyNoise(Additive):
    """x + noise, clipped to the image bounds: any image. No budget must be kept, so that sums are rounded to nearest.

    Args:
        eps, norm: see `Additive`; the whole image range.

    >>> x = torch.full((1, 1, 2, 2), 0.95)
    >>> float(AnyNoise().apply(x, {"noise": torch.ones_like(x)}, (0.0, 1.0)).max())
    1.0
    """

    eps: float = 1.0

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        noise = parameters["noise"]
        with torch.no_grad():
            changed = (images + noise).clamp_(*bounds)
        # The gradient is the identity, as that of `Additive`.
        for values in (noise, images):
            if values.requires_grad:
                changed = changed + (values - values.detach())
        return changed

    def scaled(self, factor: float) -> AnyNoise:
        """The same with `factor` times the radius."""
        return replace(self, eps=self.eps * factor)
