"""The nearest point of a ball around 0."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.minimum_norm.length import per_row, positive


def to_linf_ball(noise: Tensor, radius: Tensor) -> Tensor:
    """Noise clipped to an L-infinity ball.

    Args:
        noise: [M, ...].
        radius: [M], at least 0.

    Returns:
        [M, ...].

    >>> to_linf_ball(torch.tensor([[3.0, -1.5]]), torch.tensor([2.0])).tolist()
    [[2.0, -1.5]]
    """
    highest = per_row(radius, noise)
    # On the CPU three times faster than one clamp between two limits per row.
    return torch.minimum(noise, highest).maximum(-highest)


def to_l0_ball(noise: Tensor, radius: Tensor) -> Tensor:
    """Noise with all but its largest entries set to 0, of equal ones all but the first.

    Args:
        noise: [M, ...].
        radius: [M], how many entries stay, at least 0, rounded down.

    Returns:
        [M, ...].

    >>> to_l0_ball(torch.tensor([[3.0, -1.5]]), torch.tensor([1.0])).tolist()
    [[3.0, -0.0]]
    """
    return noise * _largest(noise.flatten(1).abs(), radius).reshape(noise.shape)


def to_l1_ball_in_box(noise: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """The point of the part of an L1 ball inside a box that is nearest to `noise` in the Euclidean distance.

    Every entry is brought nearer to 0 by the same amount (Duchi et al., "Efficient projections onto the l1-ball for
    learning in high dimensions", 2008) and then clipped; what clipped ones leave, others can use.

    Args:
        noise: [M, ...].
        low, high: [M, ...], low <= 0 <= high.
        radius: [M], at least 0.

    Returns:
        [M, ...].

    >>> box = torch.ones(1, 3)
    >>> to_l1_ball_in_box(torch.tensor([[3.0, -0.5, 0.25]]), -box, box, torch.tensor([1.25])).tolist()
    [[1.0, -0.25, 0.0]]
    """
    sizes = noise.flatten(1).abs()
    room = torch.where(noise > 0, high, -low).flatten(1)
    full, radius = torch.zeros_like(sizes, dtype=torch.bool), radius.double()
    while True:
        # An entry that meets the box keeps to it: without what it cannot use, the others are shortened less, and so is
        # it. The amount falls from round to round, and a few suffice.
        rest = (radius - torch.where(full, room, 0.0).sum(dim=1, dtype=torch.float64)).clamp_min_(0)
        excess = _excess(torch.where(full, 0.0, sizes), rest)
        left = (sizes - excess.to(sizes.dtype).unsqueeze(1)).clamp_min_(0)
        meets = full | (left > room)
        if torch.equal(meets, full):
            return torch.where(full, room, left).reshape(noise.shape).mul_(noise.sign())
        full = meets


def _largest(sizes: Tensor, radius: Tensor) -> Tensor:
    """Which entries are among the `radius` largest of their row, [M, P] of 1 and 0; of equal ones the first."""
    counts = radius.floor().clamp(0, sizes.shape[1]).long().unsqueeze(1)
    most = int(counts.max())
    if most == 0:
        return torch.zeros_like(sizes)
    # The smallest size that stays; nothing does where that is infinite.
    least = sizes.topk(most, dim=1).values.gather(1, (counts - 1).clamp_min_(0))
    least = torch.where(counts > 0, least, torch.inf)
    # Numbers, as masks are slow to count and to multiply with.
    kept = (sizes >= least).to(sizes.dtype)
    if torch.equal(kept.sum(dim=1, keepdim=True, dtype=torch.float64), counts.double()):
        return kept
    equal = sizes == least
    room = counts - (sizes > least).sum(dim=1, keepdim=True)
    return ((sizes > least) | (equal & (equal.cumsum(1) <= room))).to(sizes.dtype)


def _excess(sizes: Tensor, radius: Tensor) -> Tensor:
    """By how much every entry is brought nearer to 0, [M] float64.

    What is left of a row is a convex, piecewise linear function of that, on which Newton's method from the left ends
    exactly, after a few rounds (Michelot, "A finite algorithm for finding the projection of a point onto the canonical
    simplex of R^n", 1986): many times faster than to sort.
    """
    excess = torch.zeros_like(radius, dtype=torch.float64)
    count = torch.full_like(excess, -1)
    while True:
        left = (sizes - excess.to(sizes.dtype).unsqueeze(1)).clamp_min_(0)
        over = left.sum(dim=1, dtype=torch.float64) - radius
        still = left.sign_().sum(dim=1, dtype=torch.float64)
        # Rows on the last piece of their function, and those inside the ball, are done.
        if torch.equal(still, count):
            return excess
        excess = torch.where(still == count, excess, excess + (over / positive(still)).clamp_min_(0))
        count = still
