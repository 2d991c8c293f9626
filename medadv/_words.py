"""The words by which operators are told how to sample and pad, and the numbers by which the kernels know them."""

from __future__ import annotations

from typing import Literal

Interpolation = Literal["nearest", "linear", "cubic"]
Padding = Literal["zeros", "border", "reflection"]
BlurPadding = Literal["reflect", "border", "zeros"]

_INTERPOLATIONS = ("nearest", "linear", "cubic")  # in the order of core/warp.h
_PADDINGS = ("zeros", "border", "reflection")
_BLUR_PADDINGS = ("reflect", "border", "zeros")  # in the order of core/gaussian_blur.h


def sampling_words(op: str, interpolation: str, padding: str) -> tuple[int, int]:
    """The numbers of an interpolation and a padding.

    Example:
        >>> sampling_words("warp", "linear", "border")
        (1, 1)
    """
    for name, word, words in (
        ("interpolation", interpolation, _INTERPOLATIONS),
        ("padding", padding, _PADDINGS),
    ):
        if word not in words:
            raise ValueError(f"{op}: {name} must be one of {', '.join(words)}, got {word!r}")
    return _INTERPOLATIONS.index(interpolation), _PADDINGS.index(padding)


def blur_padding(op: str, padding: str) -> int:
    """The number of a blur's padding.

    Example:
        >>> blur_padding("gaussian_blur", "zeros")
        2
    """
    if padding not in _BLUR_PADDINGS:
        raise ValueError(f"{op}: padding must be 'reflect', 'border' or 'zeros', got {padding!r}")
    return _BLUR_PADDINGS.index(padding)
