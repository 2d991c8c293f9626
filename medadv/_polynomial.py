"""The terms of a polynomial bias field, and the grid of control points that moves its coordinates."""

from __future__ import annotations

from collections.abc import Sequence

from medadv._arguments import whole


def polynomial_terms(degree: int, axes: int) -> list[tuple[int, ...]]:
    """The powers of every term of :func:`medadv.ops.polynomial_bias_field`, in the order of its coefficients.

    Args:
        degree: Largest sum of the powers of a term.
        axes: 2 or 3.

    Returns:
        One power per axis, in the order of the axes, for each term: ``(degree + 1) (degree + 2) / 2`` terms in 2D, and
        ``(degree + 1) (degree + 2) (degree + 3) / 6`` in 3D. The last power rises fastest.

    Raises:
        TypeError: A degree or axes that are no whole number.
        ValueError: A degree below 0, or other than 2 or 3 axes.

    Example:
        >>> polynomial_terms(2, 2)
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    """
    degree = whole(degree, "polynomial_terms: degree", at_least=0)
    if whole(axes, "polynomial_terms: axes") not in (2, 3):
        raise ValueError(f"polynomial_terms: axes must be 2 or 3, got {axes}")
    powers: list[tuple[int, ...]] = [()]
    for _ in range(axes):
        powers = [(*before, n) for before in powers for n in range(degree - sum(before) + 1)]
    return powers


def check_unmoved(op: str, control: object) -> None:
    """Raise ValueError where control points are given, but nothing that they move.

    Example:
        >>> check_unmoved("polynomial_bias_field", None)
    """
    if control is not None:
        raise ValueError(f"{op}: control needs a warp, 'thin_plate' or 'flow'")


def control_grid(op: str, shape: Sequence[int], axes: int) -> list[int]:
    """Control points along every axis, of displacements ``[N, axes, *grid]`` for images of so many axes.

    Example:
        >>> control_grid("polynomial_bias_field", (1, 2, 3, 4), 2)
        [3, 4]
    """
    grid = list(shape[2:])
    if len(shape) != axes + 2 or list(shape[1:2]) != [axes] or min(grid, default=0) < 2:
        raise ValueError(
            f"{op}: control must be [N, {axes}, {'Gz, ' if axes == 3 else ''}Gy, Gx] with at least 2 points along "
            f"every axis, got {list(shape)}"
        )
    return grid
