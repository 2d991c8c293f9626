"""Intervals of anything that is computed from means over images, by drawing the images again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
_DIGITS = 6


def draws(images: int, resamples: int, seed: int) -> Array:
    """Weights of images in samples drawn with replacement (Efron, 1979); the first row is the sample itself.

    The same draws for two quantities make the interval of their difference a paired one.

    Args:
        images: how many there are, at least 1.
        resamples: how many samples are drawn.
        seed: of the draws.

    Returns:
        [1 + resamples, images], each row of sum 1.

    >>> draws(4, 2, 0)[0]
    array([0.25, 0.25, 0.25, 0.25])
    """
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    return np.concatenate([np.full((1, images), 1 / images), drawn / images])


def means(values: Array, weights: Array) -> Array:
    """Means over images of each sample.

    Args:
        values: [..., images].
        weights: [samples, images], of `draws`.

    Returns:
        [..., samples].
    """
    averaged: Array = np.asarray(values, np.float64) @ weights.T
    return averaged


def estimate(samples: Array) -> dict[str, float | None]:
    """The value of the sample itself, and a percentile interval.

    Args:
        samples: [1 + resamples], the first that of the sample itself; NaN where a sample has no value.

    Returns:
        "value", "low" and "high"; None for a value that is not there, and for both ends where so many samples have no
        value that an end may be one of them.

    >>> estimate(np.array([0.5, np.nan, 0.5]))
    {'value': 0.5, 'low': None, 'high': None}
    """
    value = None if np.isnan(samples[0]) else _rounded(samples[0])
    drawn = samples[1:]
    tail = (1 - CONFIDENCE) / 2
    if value is None or np.isnan(drawn).mean() > tail:
        return {"value": value, "low": None, "high": None}
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return {"value": value, "low": _rounded(low), "high": _rounded(high)}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
