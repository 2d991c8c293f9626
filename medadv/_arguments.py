"""Checks of constructor arguments: each returns the canonical value or raises one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TypeGuard


def any_real(value: object, name: str, kind: str = "a number") -> float:
    """A real number as a float, infinite or NaN also (``bool`` is not a number here).

    Raises:
        TypeError: `value` is no real number.

    >>> any_real(3, "eps"), any_real(math.inf, "radius")
    (3.0, inf)
    """
    # Of a plain number the abstract type, which takes long to ask, is not asked.
    if isinstance(value, bool) or not isinstance(value, (float, int, Real)):
        raise TypeError(f"{name} must be {kind}, got {value!r}.")
    return float(value)


def real(
    value: object, name: str, *, above: float = -math.inf, at_least: float = -math.inf, below: float = math.inf
) -> float:
    """A finite real number as a float (``bool`` is not a number here).

    Raises:
        TypeError: `value` is no real number.
        ValueError: it is not finite or outside the limits.

    >>> real(3, "eps", at_least=0)
    3.0
    """
    number = any_real(value, name)
    if not -math.inf < number < math.inf:  # torch.compile traces this, but not math.isfinite
        raise ValueError(f"{name} must be finite, got {value!r}.")
    if not number > above:
        raise ValueError(f"{name} must be above {above:g}, got {value!r}.")
    if not number >= at_least:
        raise ValueError(f"{name} must be at least {at_least:g}, got {value!r}.")
    if not number < below:
        raise ValueError(f"{name} must be below {below:g}, got {value!r}.")
    return number


def is_whole(value: object) -> TypeGuard[Integral]:
    """Whether a value is a whole number (``bool`` is not a number here).

    >>> is_whole(8), is_whole(8.0), is_whole(True)
    (True, False, False)
    """
    # A size that torch traces is known by its name alone: medadv.numpy comes here too, and does not import torch.
    if type(value) is int or type(value).__name__ == "SymInt":
        return True
    return isinstance(value, Integral) and not isinstance(value, bool)


def whole(value: object, name: str, *, at_least: float = -math.inf, below: int | None = None) -> int:
    """A whole number as an int (``bool`` is not a number here).

    Raises:
        TypeError: `value` is no whole number.
        ValueError: it is outside the limits.

    >>> whole(20, "steps", at_least=1)
    20
    """
    if not is_whole(value):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    number = int(value)
    if number < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value!r}.")
    if below is not None and number >= below:
        raise ValueError(f"{name} must be below {below}, got {value!r}.")
    return number


def flag(value: object, name: str) -> bool:
    """A bool and nothing that merely looks like one.

    Raises:
        TypeError: `value` is no bool.

    >>> flag(True, "random_start")
    True
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}.")
    return value


def choice(value: object, name: str, choices: Sequence[str]) -> str:
    """One of the given words.

    Raises:
        TypeError: `value` is no string.
        ValueError: it is none of `choices`.

    >>> choice("l2", "norm", ("linf", "l2"))
    'l2'
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
    return value
