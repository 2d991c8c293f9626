"""Rates that change while an attack runs."""

from __future__ import annotations

import math


def cosine(first: float, last: float, step: int, steps: int) -> float:
    """A rate that falls from `first` to `last` along half a period of a cosine.

    Args:
        first: at step 0.
        last: at step `steps`.
        step: from 0 to `steps`.
        steps: at least 1.

    Returns:
        The rate.

    >>> [round(cosine(1.0, 0.0, step, 4), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
