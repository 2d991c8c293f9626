"""The distance of control points, as perturbations take it."""

from __future__ import annotations

from collections.abc import Sequence

from medadv import _arguments


def spacing_of(spacing: object) -> float | tuple[float, ...] | None:
    """A checked spacing.

    Args:
        spacing: voxels above 0, one number or one per axis (2 or 3), or None.

    Returns:
        A float, a tuple of floats, or None.

    Raises:
        TypeError, ValueError: it is none of these.

    >>> spacing_of([8, 16])
    (8.0, 16.0)
    """
    if spacing is None:
        return None
    if isinstance(spacing, Sequence) and not isinstance(spacing, str):
        if len(spacing) not in (2, 3):
            raise ValueError(f"spacing must be one number or one per axis of the image (2 or 3), got {spacing!r}.")
        return tuple(_arguments.real(value, "spacing", above=0) for value in spacing)
    return _arguments.real(spacing, "spacing", above=0)


def voxels_between(spacing: float | tuple[float, ...] | None, size: tuple[int, ...]) -> float | tuple[float, ...]:
    """The distance of control points of an image: as given, or a quarter of its largest axis.

    >>> voxels_between(None, (64, 48))
    16.0
    """
    return max(size) / 4 if spacing is None else spacing
