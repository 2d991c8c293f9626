"""The nearest point of a hyperplane inside a box."""

from __future__ import annotations

import torch
from torch import Tensor


def to_hyperplane(weight: Tensor, rise: Tensor, low: Tensor, high: Tensor, norm: str) -> Tensor:
    """The shortest change d with <weight, d> = rise and low <= d <= high, exactly.

    Where the box is too small for that, the change that comes nearest to the rise: every entry at its limit.
    In each norm the best change moves every entry in the direction that helps: all by the same amount ("linf"), in
    proportion to their weights ("l2"), or one after the other, the largest weight first ("l1"), each until it meets the
    box: the projection step of FAB (Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive
    boundary attack", 2020, appendix A). The fewest entries ("l0") are those that can raise most, weight times room.

    Args:
        weight: [M, P].
        rise: [M], of any sign.
        low, high: [M, P], low <= 0 <= high.
        norm: "linf", "l2", "l1" or "l0".

    Returns:
        [M, P] float64.

    >>> weight, box = torch.tensor([[3.0, 1.0]]), torch.ones(1, 2)
    >>> to_hyperplane(weight, torch.tensor([2.0]), -box, box, "linf").tolist()
    [[0.5, 0.5]]
    >>> to_hyperplane(weight, torch.tensor([3.5]), -box, box, "l2").tolist()
    [[1.0, 0.5]]
    """
    direction = (weight.double() * rise.double().sign().unsqueeze(1)).sign()
    slope = weight.double().abs()
    room = torch.where(direction > 0, high.double(), -low.double()) * direction.abs()
    find = _one_after_the_other if norm in ("l1", "l0") else _together
    return direction * find(slope, room, rise.double().abs(), norm)


def _together(slope: Tensor, room: Tensor, rise: Tensor, norm: str) -> Tensor:
    """Entries move at their speeds until they meet the box, up to the time at which the rise is reached.

    The rise is a concave, piecewise linear function of time, on which Newton's method from the left ends exactly, after
    a few rounds: many times faster than to sort the times at which entries stop.
    """
    speed = slope if norm == "l2" else torch.ones_like(slope)
    moving = room > 0
    stops = torch.where(moving, room / speed, 0.0)
    while True:
        left = rise - torch.where(moving, 0.0, slope * room).sum(dim=1)
        pace = torch.where(moving, slope * speed, 0.0).sum(dim=1)
        time = torch.where(pace > 0, left / _positive(pace), torch.inf).unsqueeze(1)
        still = moving & (stops > time)
        if torch.equal(still, moving):
            return torch.minimum(torch.where(room > 0, time * speed, 0.0), room)
        moving = still


def _one_after_the_other(slope: Tensor, room: Tensor, rise: Tensor, norm: str) -> Tensor:
    """Entries move to the box in the order of their slopes, or of their gains; the last as far as is left to do."""
    order = (slope if norm == "l1" else slope * room).argsort(dim=1, descending=True, stable=True)
    gain = (slope * room).gather(1, order)
    left = rise.unsqueeze(1) - (gain.cumsum(1) - gain)
    sorted_slope = slope.gather(1, order)
    move = torch.minimum((left / _positive(sorted_slope)).clamp_min(0), room.gather(1, order))
    return torch.zeros_like(slope).scatter(1, order, move)


def _positive(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, torch.ones_like(values))
