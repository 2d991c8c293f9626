"""The nearest point of a ball."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.minimum_norm.length import length, per_row, positive


def to_ball(noise: Tensor, radius: Tensor, norm: str) -> Tensor:
    """The point of a ball around 0 that is nearest to `noise` in the Euclidean distance.

    Clipped ("linf"), shortened ("l2"), or every entry brought nearer to 0 by the same amount ("l1": Duchi et al.,
    "Efficient projections onto the l1-ball for learning in high dimensions", 2008).

    Args:
        noise: [M, ...].
        radius: [M], at least 0.
        norm: "linf", "l2" or "l1".

    Returns:
        [M, ...].

    >>> to_ball(torch.tensor([[3.0, -1.5]]), torch.tensor([2.0]), "l1").tolist()
    [[1.75, -0.25]]
    """
    if norm == "linf":
        limit = per_row(radius, noise)
        return torch.maximum(torch.minimum(noise, limit), -limit)
    if norm == "l2":
        return noise * per_row((radius / positive(length(noise, "l2"))).clamp_max(1), noise)
    return noise.sign() * (noise.abs() - per_row(_excess(noise, radius), noise)).clamp_min(0)


def _excess(noise: Tensor, radius: Tensor) -> Tensor:
    """By how much every entry is brought nearer to 0."""
    sizes, _ = noise.flatten(1).abs().double().sort(dim=1, descending=True)
    counts = torch.arange(1, sizes.shape[1] + 1, device=noise.device)
    cut = (sizes.cumsum(1) - radius.double().unsqueeze(1)) / counts
    # The entries that stay above zero are the largest ones; there are as many as lie above their own cut.
    kept = (sizes > cut).sum(dim=1, keepdim=True).clamp_min(1)
    return cut.gather(1, kept - 1).squeeze(1).clamp_min(0)
