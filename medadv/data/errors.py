"""The one error that the readers raise, and what its sentence is made of."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 12


class DataError(ValueError):
    """Images or labels that cannot be used; the message is one sentence that names the file."""


def first_line(error: BaseException) -> str:
    """The first line of a library's own message, short enough to stand inside a sentence."""
    return (str(error).splitlines() or [""])[0][:160] or type(error).__name__


def some(names: Sequence[str]) -> str:
    """The first of many names, few enough to stand inside a sentence.

    >>> some(("left", "right"))
    'left, right'
    """
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
