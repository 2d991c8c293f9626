"""The shape and the cells of a B-spline lattice over an image.

A lattice of K >= 4 control points along an axis of S voxels spans it exactly: voxel i sits at
i (K - 3) / (S - 1) cells from the start. So coefficients mean the same at any resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from medadv._arguments import is_whole


def lattice_shape(size: Sequence[int], spacing: float | Sequence[float]) -> tuple[int, ...]:
    """Control points per axis for a lattice whose spacing is as close as possible to the one asked for.

    Args:
        size: ``[H, W]`` or ``[D, H, W]``, voxels of the image along every axis, at least 1.
        spacing: Voxels between control points, one number or one per axis, positive.

    Returns:
        Control points per axis, at least 4. The spacing is then exactly ``(S - 1) / (K - 3)`` voxels.

    Raises:
        ValueError: A size below 1, a spacing that is not positive, or lengths that differ.
        TypeError: A size that is not whole numbers, or a spacing that is no number.

    Example:
        >>> lattice_shape((224, 224), 32)
        (10, 10)
        >>> lattice_shape((1, 33, 65), (16, 16, 32))
        (4, 5, 5)
    """
    size = whole_numbers("lattice_shape", "size", size)
    spacings = per_axis("lattice_shape", "spacing", spacing, len(size))
    if len(spacings) != len(size):
        raise ValueError(
            f"lattice_shape: spacing must be one number or one per axis of size ({len(size)}), got {len(spacings)}"
        )
    if any(s < 1 for s in size):
        raise ValueError(f"lattice_shape: size must be at least 1 along every axis, got {tuple(size)}")
    if not all(0 < s < float("inf") for s in spacings):
        raise ValueError(f"lattice_shape: spacing must be positive and finite, got {spacing}")
    return tuple(max(1, round((n - 1) / s)) + 3 for n, s in zip(size, spacings, strict=True))


def per_axis(op: str, name: str, value: float | Sequence[float], axes: int) -> list[float]:
    """One number for all axes, or one per axis as it is.

    Args:
        op: Who asks, for the sentence of an error.
        name: Of the argument.
        value: What was given.
        axes: How many there are.

    Raises:
        TypeError: The value is neither.

    Example:
        >>> per_axis("gaussian_blur", "sigma", 1, 2), per_axis("gaussian_blur", "sigma", (1, 0.5), 2)
        ([1.0, 1.0], [1.0, 0.5])
    """
    values = [value] * axes if isinstance(value, Real) else value
    try:
        if not isinstance(values, str):  # whose letters may be digits
            return [float(each) for each in values]  # type: ignore[union-attr]
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{op}: {name} must be a number or one per axis, got {value!r}")


def whole_numbers(op: str, name: str, value: Sequence[int]) -> list[int]:
    """One whole number per axis, as a list.

    Args:
        op: Who asks, for the sentence of an error.
        name: Of the argument.
        value: What was given.

    Raises:
        TypeError: The value is no sequence, or not all of it are whole numbers.

    Example:
        >>> whole_numbers("spline_field", "size", (8, 9))
        [8, 9]
    """
    try:
        numbers = list(value)
        if all(is_whole(each) for each in numbers):
            return numbers
    except TypeError:
        pass
    raise TypeError(f"{op}: {name} must be whole numbers, one per axis, got {value!r}")


def image_geometry(op: str, size: Sequence[int], voxel_size: float | Sequence[float]) -> tuple[list[int], list[float]]:
    """Voxels of a lattice's image along every axis, and their lengths.

    Example:
        >>> image_geometry("jacobian_determinant", (8, 9), 1.5)
        ([8, 9], [1.5, 1.5])
    """
    voxels = whole_numbers(op, "size", size)
    return voxels, per_axis(op, "voxel_size", voxel_size, len(voxels))


def cell_lengths(
    op: str, knots: Sequence[int], size: Sequence[int], voxel_size: float | Sequence[float]
) -> list[float]:
    """Lengths of the cells of a lattice over an image.

    Args:
        op: Who asks, for the sentence of an error.
        knots: Control points along every axis.
        size: Voxels of the image along every axis.
        voxel_size: Length of a voxel, one number or one per axis.

    Example:
        >>> cell_lengths("bending_energy", (4, 5), (2, 3), 1.5)
        [1.5, 1.5]
    """
    size, lengths = image_geometry(op, size, voxel_size)
    if not len(knots) == len(size) == len(lengths):
        raise ValueError(
            f"{op}: size and voxel_size must have one entry per axis of the lattice "
            f"({len(knots)}), got {tuple(size)} and {voxel_size}"
        )
    if any(n < 2 for n in size):
        raise ValueError(f"{op}: size must be at least 2 along every axis, got {tuple(size)}")
    if not all(0 < v < float("inf") for v in lengths):
        raise ValueError(f"{op}: voxel_size must be positive and finite, got {voxel_size}")
    if any(k < 4 for k in knots):
        raise ValueError(f"{op}: field must have at least 4 control points along every axis, got {tuple(knots)}")
    cells = [v * (n - 1) / (k - 3) for v, n, k in zip(lengths, size, knots, strict=True)]
    # Energies are made of these, up to their third powers.
    if not all(0 < c * c * c < float("inf") and 1 / (c * c * c) < float("inf") for c in cells):
        raise ValueError(
            f"{op}: voxel_size must make the cube of a cell's length and its inverse finite, got {voxel_size}"
        )
    return cells
