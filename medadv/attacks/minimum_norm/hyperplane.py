"""The nearest point of a hyperplane inside a box."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.minimum_norm.length import positive

_FEW = 64  # entries that usually suffice in "l1" and "l0"; only where they do not, all are sorted


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
        low, high: [M, P], of the type of `weight`, low <= 0 <= high.
        norm: "linf", "l2", "l1" or "l0".

    Returns:
        [M, P], of the type of `weight`; sums are taken in float64.

    >>> weight, box = torch.tensor([[3.0, 1.0]]), torch.ones(1, 2)
    >>> to_hyperplane(weight, torch.tensor([2.0]), -box, box, "linf").tolist()
    [[0.5, 0.5]]
    >>> to_hyperplane(weight, torch.tensor([3.5]), -box, box, "l2").tolist()
    [[1.0, 0.5]]
    """
    # The largest weight becomes 1, so that squares of small ones do not underflow.
    slope = weight.abs()
    largest = positive(slope.amax(dim=1, keepdim=True))
    slope /= largest
    direction = (weight * rise.to(weight.dtype).sign().unsqueeze(1)).sign_()
    room = torch.maximum(direction * low, direction * high)
    find = _one_after_the_other if norm in ("l1", "l0") else _together
    return direction.mul_(find(slope, room, rise.double().abs() / largest.squeeze(1), norm))


def _together(slope: Tensor, room: Tensor, rise: Tensor, norm: str) -> Tensor:
    """Entries move at their speeds until they meet the box, up to the time at which the rise is reached.

    The rise is a concave, piecewise linear function of time, on which Newton's method from the left ends exactly, after
    a few rounds: many times faster than to sort the times at which entries stop.
    """
    moved = torch.zeros_like(room)
    drive = slope.square() if norm == "l2" else slope
    moving = room.sign()
    time, count, left = torch.zeros_like(rise), _sum(moving), rise
    while True:
        pace = _sum(moving.mul_(drive))
        time = torch.where(pace > 0, time + left / positive(pace), time)
        times = time.to(slope.dtype).unsqueeze(1)
        moved = torch.minimum(slope * times if norm == "l2" else times, room)
        moving = (room - moved).sign_()
        still = _sum(moving)
        # Rows on the last piece of their function have their time.
        left = torch.where(still == count, 0.0, rise - _sum(slope * moved)).clamp_min_(0)
        if torch.equal(still, count):
            return moved
        count = still


def _one_after_the_other(slope: Tensor, room: Tensor, rise: Tensor, norm: str) -> Tensor:
    """Entries move to the box in the order of their slopes, or of their gains; the last as far as is left to do."""
    gain = slope * room
    key = slope if norm == "l1" else gain
    few, order = key.topk(min(_FEW, key.shape[1]), dim=1)
    moved = torch.zeros_like(slope)
    left = _moved_in(order, slope, room, rise, moved)
    short = (left > 0).nonzero().flatten()
    if len(short) and few.shape[1] < key.shape[1]:
        order = key[short].argsort(dim=1, descending=True, stable=True)
        rest = torch.zeros_like(slope[short])
        _moved_in(order, slope[short], room[short], rise[short], rest)
        moved[short] = rest
    return moved


def _moved_in(order: Tensor, slope: Tensor, room: Tensor, rise: Tensor, moved: Tensor) -> Tensor:
    """Move entries in an order, and write down how far; what is left to do [M]."""
    slope, room = slope.gather(1, order).double(), room.gather(1, order)
    gains = slope * room
    done = gains.cumsum(1)
    left = rise.unsqueeze(1) - (done - gains)
    move = torch.minimum((left / positive(slope)).clamp_min_(0).to(room.dtype), room)
    moved.scatter_(1, order, move)
    return rise - done[:, -1]


def _sum(values: Tensor) -> Tensor:
    return values.sum(dim=1, dtype=torch.float64)
