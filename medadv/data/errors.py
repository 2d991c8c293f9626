"""The one error that the readers raise."""

from __future__ import annotations


class DataError(ValueError):
    """Images or labels that cannot be used; the message is one sentence that names the file."""


def first_line(error: BaseException) -> str:
    """The first line of a library's own message, short enough to stand inside a sentence."""
    return (str(error).splitlines() or [""])[0][:160] or type(error).__name__
