"""The shape of a B-spline lattice over an image.

A lattice of K >= 4 control points along an axis of S voxels spans it exactly: voxel i sits at
i (K - 3) / (S - 1) cells from the start. So coefficients mean the same at any resolution.
"""

from __future__ import annotations

from collections.abc import Sequence


def lattice_shape(size: Sequence[int], spacing: float | Sequence[float]) -> tuple[int, ...]:
    """Control points per axis for a lattice whose spacing is as close as possible to the one asked for.

    Args:
        size: ``[H, W]`` or ``[D, H, W]``, voxels of the image along every axis, at least 1.
        spacing: Voxels between control points, one number or one per axis, positive.

    Returns:
        Control points per axis, at least 4. The spacing is then exactly ``(S - 1) / (K - 3)`` voxels.

    Raises:
        ValueError: A size below 1, a spacing that is not positive, or lengths that differ.

    Example:
        >>> lattice_shape((224, 224), 32)
        (10, 10)
        >>> lattice_shape((1, 33, 65), (16, 16, 32))
        (4, 5, 5)
    """
    spacings = [float(spacing)] * len(size) if isinstance(spacing, (int, float)) else [float(s) for s in spacing]
    if len(spacings) != len(size):
        raise ValueError(
            f"lattice_shape: spacing must be one number or one per axis of size ({len(size)}), got {len(spacings)}"
        )
    if any(s < 1 for s in size):
        raise ValueError(f"lattice_shape: size must be at least 1 along every axis, got {tuple(size)}")
    if not all(0 < s < float("inf") for s in spacings):
        raise ValueError(f"lattice_shape: spacing must be positive and finite, got {spacing}")
    return tuple(max(1, round((n - 1) / s)) + 3 for n, s in zip(size, spacings, strict=True))
