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
        error = (base - (total - back)).add_(change - back)
        beyond = torch.sign(error).mul_(torch.sign(target - total)) > 0
        return _chosen(beyond, torch.nextafter(total, target), total)


def _chosen(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    # What torch.where gives, on the bits: its CPU kernel branches at every entry, ten times slower on a random mask.
    bits = torch.int32 if first.element_size() == 4 else torch.int64
    new, old = first.view(bits), second.view(bits)
    return (old + (new - old) * mask).view(first.dtype)
