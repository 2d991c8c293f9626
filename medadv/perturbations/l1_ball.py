"""The part of an L1 ball that lies inside a box."""

from __future__ import annotations

import torch
from torch import Tensor


def project_onto_l1(points: Tensor, low: Tensor, high: Tensor, radius: float) -> Tensor:
    """The nearest points of the box whose entries' absolute values sum to at most `radius`.

    Exact, row by row: the nearest point is clip(sign(p) max(|p| - t, 0)) for one threshold t >= 0, and the sum falls
    along straight lines between the thresholds at which an entry leaves the side of the box or reaches 0. Croce and
    Hein, "Mind the box: L1-APGD for sparse adversarial attacks on image classifiers" (2021), section 3.

    Args:
        points: [N, M].
        low: [N, M], at most 0.
        high: [N, M], at least 0.
        radius: at least 0.

    Returns:
        [N, M] float64.

    >>> box = torch.ones(1, 3)
    >>> project_onto_l1(torch.tensor([[3.0, 0.5, -0.25]]), -box, box, 1.25)
    tensor([[1.0000, 0.2500, -0.0000]], dtype=torch.float64)
    """
    points = points.double()
    size = points.abs()
    side = torch.where(points > 0, high.double(), -low.double())
    length = torch.minimum(size, side).sum(dim=1, keepdim=True)
    threshold = torch.where(length > radius, _threshold(size, side, length, radius), torch.zeros_like(length))
    inside = points.sign() * torch.minimum((size - threshold).clamp_min(0), side)
    # The sum may be rounded up by some 2^-52 of the points, which is much where the radius is small beside them.
    return inside * (radius / inside.abs().sum(dim=1, keepdim=True).clamp_min(1e-300)).clamp_max(1)


def _threshold(size: Tensor, side: Tensor, length: Tensor, radius: float) -> Tensor:
    # Between (size - side) and size an entry shrinks as fast as the threshold grows; elsewhere it stays.
    starts = (size - side).clamp_min(0)
    ends = torch.maximum(size, starts)
    thresholds, order = torch.cat([starts, ends], dim=1).sort(dim=1)
    turns = torch.cat([torch.ones_like(starts), -torch.ones_like(ends)], dim=1).gather(1, order)
    shrinking = turns.cumsum(dim=1)
    lost = (thresholds.diff(dim=1) * shrinking[:, :-1]).cumsum(dim=1)
    lengths = torch.cat([length, length - lost], dim=1)
    # The last threshold at which the sum is still too large; from there one straight line leads to the radius.
    last = ((lengths > radius).sum(dim=1, keepdim=True) - 1).clamp_min(0)
    excess = lengths.gather(1, last) - radius
    return thresholds.gather(1, last) + excess / shrinking.gather(1, last).clamp_min(1)
