"""The words by which operators are told how to sample and pad, and the numbers by which the kernels know them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from medadv._arguments import any_real

Interpolation = Literal["nearest", "linear", "cubic"]
Padding = Literal["zeros", "border", "reflection"]
BlurPadding = Literal["reflect", "border", "zeros"]
Basis = Literal["legendre", "monomial"]
CoordinateWarp = Literal["thin_plate", "flow"]
RowNorm = Literal["linf", "l1", "l2"]

_INTERPOLATIONS = ("nearest", "linear", "cubic")  # in the order of core/warp.h
_PADDINGS = ("zeros", "border", "reflection")
_BLUR_PADDINGS = ("reflect", "border", "zeros")  # in the order of core/gaussian_blur.h
_BASES = ("legendre", "monomial")  # in the order of core/polynomial.h
_COORDINATE_WARPS = (None, "thin_plate", "flow")  # in the order of core/coordinates.h
_ROW_NORMS = ("linf", "l1", "l2")  # in the order of core/row_length.h


def sampling_words(op: str, interpolation: str, padding: str) -> tuple[int, int]:
    """The numbers of an interpolation and a padding.

    Example:
        >>> sampling_words("warp", "linear", "border")
        (1, 1)
    """
    return _number(op, "interpolation", interpolation, _INTERPOLATIONS), _number(op, "padding", padding, _PADDINGS)


def blur_padding(op: str, padding: str) -> int:
    """The number of a blur's padding.

    Example:
        >>> blur_padding("gaussian_blur", "zeros")
        2
    """
    if padding not in _BLUR_PADDINGS:
        raise ValueError(f"{op}: padding must be 'reflect', 'border' or 'zeros', got {padding!r}")
    return _BLUR_PADDINGS.index(padding)


def polynomial_words(op: str, basis: str, warp: str | None) -> tuple[int, int]:
    """The numbers of a basis of polynomials and of what moves their coordinates.

    Example:
        >>> polynomial_words("polynomial_bias_field", "legendre", "flow")
        (0, 2)
    """
    return _number(op, "basis", basis, _BASES), _number(op, "warp", warp, _COORDINATE_WARPS)


def row_norm(op: str, norm: str) -> int:
    """The number of a norm of rows.

    Example:
        >>> row_norm("unit_rows", "l2")
        2
    """
    return _number(op, "norm", norm, _ROW_NORMS)


def noise_norm(op: str, norm: str) -> int:
    """The number of the norm of a ball that noise is moved into.

    Example:
        >>> noise_norm("project_noise", "linf")
        0
    """
    if norm not in ("linf", "l2"):
        raise ValueError(f"{op}: norm must be 'linf' or 'l2', got {norm!r}")
    return _ROW_NORMS.index(norm)


def check_bounds(op: str, bounds: Sequence[float]) -> tuple[float, float]:
    """The two bounds, low and high, of an image.

    Example:
        >>> check_bounds("add_noise", [0.0, 1.0])
        (0.0, 1.0)
    """
    try:
        low, high = bounds
    except (TypeError, ValueError):
        raise TypeError(f"{op}: bounds must be two numbers, low and high, got {bounds!r}") from None
    return any_real(low, f"{op}: the low bound"), any_real(high, f"{op}: the high bound")


def check_radius(op: str, radius: float) -> float:
    """One radius for all rows, refused where it is below 0 or no number.

    Example:
        >>> check_radius("unit_step", 0.5)
        0.5
    """
    number = any_real(radius, f"{op}: radius", "a number, or one per row")
    if not number >= 0:
        raise ValueError(f"{op}: radius must not be negative, got {radius}")
    return number


def _number(op: str, name: str, word: str | None, words: Sequence[str | None]) -> int:
    if word not in words:
        raise ValueError(f"{op}: {name} must be one of {', '.join(map(str, words))}, got {word!r}")
    return words.index(word)
