"""Float32 arithmetic that errs on the side of the budget."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def float32_at_most(value: float) -> float:
    """The largest float32 number that is not above `value`.

    Args:
        value: a finite real number within the float32 range.

    Returns:
        That number, as a float.

    >>> float32_at_most(0.1) < 0.1 < float32_at_most(0.1) + 1e-8
    True
    >>> float32_at_most(0.5)
    0.5
    """
    nearest = np.float32(value)
    return float(nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-math.inf)))


def add_towards(base: Tensor, change: Tensor, target: Tensor) -> Tensor:
    """base + change, rounded to the neighbouring float32 on the side of `target` where it rounds away from it.

    Rounding to nearest can put x + d further from x than d is. With `target` = x the result never is, in exact
    arithmetic. The rounding error of the sum comes from TwoSum (Knuth, The Art of Computer Programming, vol. 2, 4.2.2).

    Args:
        base, change, target: float32 tensors of one shape (or float64, where gradients are checked).

    Returns:
        The sum, float32, no gradient.

    >>> x, d = torch.tensor([1.0]), torch.tensor([0.1])
    >>> float((x + d).double() - x.double()) <= float(d.double())
    False
    >>> float(add_towards(x, d, x).double() - x.double()) <= float(d.double())
    True
    """
    with torch.no_grad():
        total = base + change
        back = total - base
        # In place from here on: a fresh tensor costs as much as the arithmetic.
        error = total - back
        torch.sub(base, error, out=error)
        error.add_(torch.sub(change, back, out=back)).sign_()
        side = torch.sub(target, total, out=back).sign_()
        # 1 where the error has the sign of the way back to the target, else 0.
        beyond = error.mul_(side).clamp_min_(0)
        return _to_neighbour_(total, beyond.mul_(side))


def _to_neighbour_(values: Tensor, way: Tensor) -> Tensor:
    """The next float above where `way` is 1, below where it is -1, the same where it is 0; values are not 0 there."""
    # On the bits, which grow with the size of the number: half the time of nextafter and where, whose CPU kernels
    # branch at every entry. A way that is no number, of an infinite sum, becomes a step, too, which does no harm.
    bits = torch.int32 if values.element_size() == 4 else torch.int64
    steps = way.mul_(values.sign()).to(bits).clamp_(-1, 1)
    values.view(bits).add_(steps)
    return values
