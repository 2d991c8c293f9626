"""The nearest point of a ball."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.minimum_norm.length import length, per_row, positive


def to_ball(noise: Tensor, radius: Tensor, norm: str) -> Tensor:
    """The point of a ball around 0 that is nearest to `noise` in the Euclidean distance.

    Clipped ("linf"), shortened ("l2"), every entry brought nearer to 0 by the same amount ("l1": Duchi et al.,
    "Efficient projections onto the l1-ball for learning in high dimensions", 2008), or all but the `radius` largest
    entries set to 0 ("l0"; of equal ones the first).

    Args:
        noise: [M, ...].
        radius: [M], at least 0; for "l0" a number of entries, rounded down.
        norm: "linf", "l2", "l1" or "l0".

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
    if norm == "l0":
        return noise * (_place(noise.abs()) < radius.floor().unsqueeze(1)).reshape(noise.shape)
    return noise.sign() * (noise.abs() - per_row(_excess(noise, radius), noise)).clamp_min(0)


def _place(values: Tensor) -> Tensor:
    """The place of every entry among those of its row, [M, P]: 0 for the largest."""
    order = values.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1)


def _excess(noise: Tensor, radius: Tensor) -> Tensor:
    """By how much every entry is brought nearer to 0."""
    sizes, _ = noise.flatten(1).abs().double().sort(dim=1, descending=True)
    counts = torch.arange(1, sizes.shape[1] + 1, device=noise.device)
    cut = (sizes.cumsum(1) - radius.double().unsqueeze(1)) / counts
    # The entries that stay above zero are the largest ones; there are as many as lie above their own cut.
    kept = (sizes > cut).sum(dim=1, keepdim=True).clamp_min(1)
    return cut.gather(1, kept - 1).squeeze(1).clamp_min(0)
