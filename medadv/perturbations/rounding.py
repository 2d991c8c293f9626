"""Float32 arithmetic that errs on the side of the budget."""

from __future__ import annotations

import math

import numpy as np


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
