"""Arguments of transform_chain besides its arrays."""

from __future__ import annotations

from collections.abc import Sequence


def chain_settings(bounds: Sequence[float] | None, origin: float) -> tuple[list[float], float]:
    """Bounds as ``[low, high]`` or nothing, and the origin.

    Example:
        >>> chain_settings((0, 1), 0), chain_settings(None, -1000)
        (([0.0, 1.0], 0.0), ([], -1000.0))
    """
    limits: list[float] = []
    if bounds is not None:
        if not isinstance(bounds, Sequence) or len(bounds) != 2 or not all(isinstance(b, int | float) for b in bounds):
            raise TypeError(f"transform_chain: bounds must be two numbers, low and high, got {bounds!r}")
        if not bounds[0] <= bounds[1]:
            raise ValueError(f"transform_chain: bounds must be low and high, low not above high, got {bounds!r}")
        limits = [float(b) for b in bounds]
    if isinstance(origin, bool) or not isinstance(origin, int | float):
        raise TypeError(f"transform_chain: origin must be a number, got {type(origin).__name__}")
    if not -float("inf") < origin < float("inf"):
        raise ValueError(f"transform_chain: origin must be finite, got {origin!r}")
    return limits, float(origin)


def is_one_operator(
    displacement: object, log_gain: object, noise: object, limits: Sequence[float], origin: float
) -> bool:
    """Whether a chain is no more than the warp by a displacement, or a bias field, which have operators of their own.

    Example:
        >>> is_one_operator(None, "a lattice", None, [], 0.0), is_one_operator(None, "a lattice", None, [0.0, 1.0], 0.0)
        (True, False)
    """
    if noise is not None or limits:
        return False
    return log_gain is None if displacement is not None else log_gain is not None and origin == 0
