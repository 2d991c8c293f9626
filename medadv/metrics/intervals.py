"""Confidence intervals of proportions."""

from __future__ import annotations

from math import sqrt
from numbers import Integral
from statistics import NormalDist


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    It stays inside [0, 1] and keeps its coverage near 0 and 1, where the textbook interval collapses to a
    point.

    Args:
        successes: number of successes, 0 to ``trials``.
        trials: number of independent trials, at least 1.
        confidence: probability that the interval covers the proportion, between 0 and 1.

    Returns:
        The lower and the upper end, both in [0, 1].

    Raises:
        TypeError: a count is not an integer.
        ValueError: a number is out of its range.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927), without continuity correction.

    >>> low, high = wilson(8, 10)
    >>> print(f"{low:.3f} to {high:.3f}")
    0.490 to 0.943
    """
    for name, count in (("successes", successes), ("trials", trials)):
        if not isinstance(count, Integral) or isinstance(count, bool):
            raise TypeError(f"wilson: {name} must be an integer, got {type(count).__name__}")
    if trials < 1:
        raise ValueError(f"wilson: trials must be at least 1, got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"wilson: successes must be from 0 to trials = {trials}, got {successes}")
    if not 0 < confidence < 1:
        raise ValueError(f"wilson: confidence must be between 0 and 1, got {confidence}")

    z = NormalDist().inv_cdf((1 + confidence) / 2)
    proportion = successes / trials
    shrink = 1 + z * z / trials
    centre = (proportion + z * z / (2 * trials)) / shrink
    half = z * sqrt(proportion * (1 - proportion) / trials + z * z / (4 * trials * trials)) / shrink
    # The ends are exactly 0 and 1 there; rounding of the square root would leave a residue.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high
