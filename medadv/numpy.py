"""The forward operations over NumPy arrays, without torch.

The functions of :mod:`medadv.ops` under the same names, by the same CPU kernels: the same bits. Importing and using
them does not import torch. They have no gradients.

**Shapes** are those of ``medadv.ops``, always: images ``[N, C, (D,) H, W]``, lattices ``[N, K, (Gz,) Gy, Gx]``, axes
in the order in which they lie in memory. What has fewer axes gets them by ``None``, which copies nothing:

    >>> import numpy as np
    >>> import medadv.numpy as mnp
    >>> volume = np.ones((8, 9, 10), np.float32)  # [D, H, W], as SciPy has it
    >>> mnp.gaussian_blur(volume[None, None], 1.0)[0, 0].shape
    (8, 9, 10)
    >>> channels = np.ones((2, 8, 9, 10), np.float32)  # [C, ...], as TorchIO has it: subject["t1"].numpy()
    >>> mnp.gaussian_blur(channels[None], 1.0)[0].shape
    (2, 8, 9, 10)

**Memory**: arrays are read where they lie, and must therefore be C-contiguous; nothing is copied or cast. Results are
new arrays, or go to ``out``, which must have exactly their shape and dtype and share no memory with an argument.

**Threads**: ``threads`` is the most that a call may use; None means one per core, fewer where the work is small. The
result has the same bits for any number. The GIL is released meanwhile.

**dtypes** are float32 and float64, and float16, stored as such and computed in float32; all arrays of a call have the
same one. :func:`warp` and :func:`spline_warp` also move labels (see there).

Every function raises TypeError where an argument is no array, and ValueError, in one sentence that names the argument,
where an array cannot be used as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv._arguments import whole
from medadv._core import operators
from medadv._lattice import cell_lengths, lattice_shape, per_axis
from medadv._words import BlurPadding, Interpolation, Padding, blur_padding, sampling_words

__all__ = [
    "bending_energy",
    "bias_field",
    "folding_penalty",
    "gaussian_blur",
    "jacobian_determinant",
    "lattice_shape",
    "membrane_energy",
    "spline_field",
    "spline_warp",
    "total_variation",
    "warp",
]

Array = NDArray[Any]


def bias_field(image: Array, lattice: Array, *, out: Array | None = None, threads: int | None = None) -> Array:
    """Multiply an image by a smooth positive field, ``y = x * exp(B(c))`` with B a cubic B-spline.

    See :func:`medadv.ops.bias_field`.

    Args:
        image: ``[N, C, (D,) H, W]``.
        lattice: ``[N, K, (Gz,) Gy, Gx]``, logarithms of the gain at the control points; K is 1 (one field for all
            channels) or C. At least 4 control points along every axis.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, C, (D,) H, W]``.

    Example:
        >>> import math
        >>> image = np.ones((1, 1, 3, 5), np.float32)
        >>> bias_field(image, np.full((1, 1, 4, 4), math.log(1.25), np.float32))[0, 0, 0].round(6)
        array([1.25, 1.25, 1.25, 1.25, 1.25], dtype=float32)
    """
    return operators.bias_field(image, lattice, out=out, threads=_count(threads))


def spline_field(lattice: Array, size: Sequence[int], *, out: Array | None = None, threads: int | None = None) -> Array:
    """Evaluate a cubic B-spline lattice at every voxel of an image.

    See :func:`medadv.ops.spline_field`.

    Args:
        lattice: ``[N, K, (Gz,) Gy, Gx]`` control points, at least 4 along every axis.
        size: ``[H, W]`` or ``[D, H, W]``, voxels of the field.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, K, *size]``.

    Example:
        >>> ramp = np.tile(np.arange(-1.0, 4.0), (1, 1, 4, 1))  # a spline reproduces linear functions
        >>> spline_field(ramp, (2, 5))[0, 0, 0]
        array([0. , 0.5, 1. , 1.5, 2. ])
    """
    return operators.spline_field(lattice, [int(n) for n in size], out=out, threads=_count(threads))


def spline_warp(
    image: Array,
    lattice: Array,
    interpolation: Interpolation = "linear",
    padding: Padding = "zeros",
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Sample an image where a B-spline lattice displaces it, ``y(p) = x(p + B(c)(p))``.

    See :func:`medadv.ops.spline_warp`. The displacement is never stored.

    Args:
        image: ``[N, C, (D,) H, W]``; or labels: bool, uint8, int8, int16, int32 or int64, which ``nearest`` copies
            as they are.
        lattice: ``[N, 2 or 3, (Gz,) Gy, Gx]``, displacements in voxels at the control points, components in the order
            of the axes; of the image's dtype, for labels float32. At least 4 control points along every axis.
        interpolation: ``"nearest"``, ``"linear"`` or ``"cubic"``.
        padding: Outside the image are ``"zeros"``, its ``"border"`` voxels, or its ``"reflection"``.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, C, (D,) H, W]``, of the image's dtype.

    Example:
        >>> image = np.arange(5.0).reshape(1, 1, 1, 5).repeat(2, axis=2)
        >>> to_the_right = np.zeros((1, 2, 4, 4))
        >>> to_the_right[:, 1] = 0.5
        >>> spline_warp(image, to_the_right, padding="border")[0, 0, 0]
        array([0.5, 1.5, 2.5, 3.5, 4. ])
    """
    words = sampling_words("spline_warp", interpolation, padding)
    return operators.spline_warp(image, lattice, *words, out=out, threads=_count(threads))


def warp(
    image: Array,
    displacement: Array,
    interpolation: Interpolation = "linear",
    padding: Padding = "zeros",
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Sample an image at displaced voxels, ``y(p) = x(p + d(p))``.

    See :func:`medadv.ops.warp`. With ``linear``, what :func:`scipy.ndimage.map_coordinates` of order 1 computes;
    ``reflection`` is its ``mirror`` and ``border`` its ``nearest``.

    Args:
        image: ``[N, C, (D,) H, W]``; or labels: bool, uint8, int8, int16, int32 or int64, which ``nearest`` copies
            as they are.
        displacement: ``[N, 2 or 3, (D,) H, W]``, in voxels along every axis in the order of the axes; of the image's
            dtype, for labels float32.
        interpolation: ``"nearest"`` (halfway: the even voxel), ``"linear"``, or ``"cubic"`` (the convolution of Keys
            1981 with a = -0.75; not SciPy's spline).
        padding: Outside the image are ``"zeros"``, its ``"border"`` voxels, or its ``"reflection"``.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, C, (D,) H, W]``, of the image's dtype.

    Example:
        >>> labels = np.array([[0, 0, 7, 7, 0]] * 2, np.uint8)[None, None]
        >>> to_the_right = np.stack([np.zeros((2, 5)), np.ones((2, 5))])[None].astype(np.float32)
        >>> warp(labels, to_the_right, "nearest")[0, 0, 0]
        array([0, 7, 7, 0, 0], dtype=uint8)
    """
    words = sampling_words("warp", interpolation, padding)
    return operators.warp(image, displacement, *words, out=out, threads=_count(threads))


def gaussian_blur(
    image: Array,
    sigma: float | Sequence[float],
    padding: BlurPadding = "reflect",
    truncate: float = 4.0,
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Convolve an image with a Gaussian, axis by axis.

    See :func:`medadv.ops.gaussian_blur`; :func:`scipy.ndimage.gaussian_filter` with the radius rounded up.

    Args:
        image: ``[N, C, (D,) H, W]``.
        sigma: Standard deviation in voxels, one number or one per axis (D,) H, W; an axis with 0 is left as it is.
        padding: What stands outside the image: ``"reflect"`` (SciPy's ``"mirror"``), ``"border"`` (``"nearest"``) or
            ``"zeros"`` (``"constant"``).
        truncate: Radius of the kernel in units of sigma.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, C, (D,) H, W]``.

    Example:
        >>> step = np.array([[0.0, 0.0, 1.0, 1.0]] * 3)[None, None]
        >>> gaussian_blur(step, 0.5)[0, 0, 0].round(4)
        array([5.000e-04, 1.067e-01, 8.933e-01, 9.995e-01])
    """
    word, sigmas = blur_padding("gaussian_blur", padding), per_axis(sigma, _axes("gaussian_blur", "image", image))
    return operators.gaussian_blur(image, sigmas, word, float(truncate), out=out, threads=_count(threads))


def bending_energy(
    field: Array,
    size: Sequence[int] | None = None,
    voxel_size: float | Sequence[float] = 1.0,
    *,
    threads: int | None = None,
) -> Array:
    """Integrate the squared second derivatives of a field over the image: how far it is from being a plane.

    See :func:`medadv.ops.bending_energy` for the formulae.

    Args:
        field: ``[N, K, (Gz,) Gy, Gx]`` control points, or ``[N, K, (D,) H, W]`` voxels.
        size: Of a lattice: voxels of the image that it spans, at least 2 along every axis. None for a dense field.
        voxel_size: Length of a voxel, one number or one per axis.
        threads: At most so many.

    Returns:
        ``[N]``, summed over the K channels; float64 for a float64 field, else float32.

    Example:
        >>> parabola = np.tile(np.arange(-2.0, 3.0) ** 2, (1, 1, 4, 1))
        >>> bending_energy(parabola, (2, 3)), bending_energy(parabola)
        (array([8.]), array([48.]))
    """
    return _energy("bending_energy", field, size, voxel_size, threads)


def membrane_energy(
    field: Array,
    size: Sequence[int] | None = None,
    voxel_size: float | Sequence[float] = 1.0,
    *,
    threads: int | None = None,
) -> Array:
    """Integrate the squared gradient of a field over the image: how far it is from being constant.

    See :func:`medadv.ops.membrane_energy` for the formulae.

    Args:
        field: ``[N, K, (Gz,) Gy, Gx]`` control points, or ``[N, K, (D,) H, W]`` voxels.
        size: Of a lattice: voxels of the image that it spans, at least 2 along every axis. None for a dense field.
        voxel_size: Length of a voxel, one number or one per axis.
        threads: At most so many.

    Returns:
        ``[N]``, summed over the K channels; float64 for a float64 field, else float32.

    Example:
        >>> ramp = np.tile(np.arange(5.0), (1, 1, 4, 1))
        >>> membrane_energy(ramp, (2, 3)), membrane_energy(ramp)
        (array([2.]), array([16.]))
    """
    return _energy("membrane_energy", field, size, voxel_size, threads)


def total_variation(field: Array, voxel_size: float | Sequence[float] = 1.0, *, threads: int | None = None) -> Array:
    """Integrate the absolute derivatives of a dense field over the image: how much it goes up and down.

    See :func:`medadv.ops.total_variation`.

    Args:
        field: ``[N, K, (D,) H, W]`` voxels.
        voxel_size: Length of a voxel, one number or one per axis.
        threads: At most so many.

    Returns:
        ``[N]``, summed over the K channels; float64 for a float64 field, else float32.

    Example:
        >>> stripes = np.tile([0.0, 1.0, 0.0, 1.0], (1, 1, 3, 1))
        >>> total_variation(stripes)  # 3 steps of 1 in each of 3 rows
        array([9.])
    """
    lengths = per_axis(voxel_size, _axes("total_variation", "field", field))
    return _total(operators.dense_total_variation(field, lengths, threads=_count(threads)), field)


def jacobian_determinant(
    displacement: Array,
    voxel_size: float | Sequence[float] = 1.0,
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Compute the Jacobian determinant of ``x -> x + u(x)`` for a dense displacement u.

    See :func:`medadv.ops.jacobian_determinant`.

    Args:
        displacement: ``[N, 2, H, W]`` or ``[N, 3, D, H, W]``, components in the order of the axes.
        voxel_size: Length of a voxel in the unit of the displacement, one number or one per axis.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, (D - 1,) H - 1, W - 1]``: one value per cell between voxels.

    Example:
        >>> grow = np.zeros((1, 2, 3, 4))
        >>> grow[:, 1] = 0.5 * np.arange(4.0)  # stretches the width by a half
        >>> jacobian_determinant(grow)[0, 0]
        array([1.5, 1.5, 1.5])
    """
    lengths = per_axis(voxel_size, _axes("jacobian_determinant", "displacement", displacement))
    return operators.jacobian_determinant(displacement, lengths, out=out, threads=_count(threads))


def folding_penalty(
    displacement: Array,
    voxel_size: float | Sequence[float] = 1.0,
    threshold: float = 0.01,
    *,
    threads: int | None = None,
) -> Array:
    """Penalise a deformation where it folds, or nearly does: the mean of ``max(threshold - det, 0)^2``.

    See :func:`medadv.ops.folding_penalty`.

    Args:
        displacement: ``[N, 2, H, W]`` or ``[N, 3, D, H, W]``, components in the order of the axes.
        voxel_size: Length of a voxel in the unit of the displacement, one number or one per axis.
        threshold: Determinants below it are penalised.
        threads: At most so many.

    Returns:
        ``[N]``; float64 for a float64 displacement, else float32.

    Example:
        >>> mirror = np.zeros((1, 2, 3, 4))
        >>> mirror[:, 1] = -2 * np.arange(4.0)  # turns the width around: determinant -1
        >>> folding_penalty(mirror, threshold=0.0)
        array([1.])
    """
    lengths = per_axis(voxel_size, _axes("folding_penalty", "displacement", displacement))
    penalty = operators.folding_penalty(displacement, lengths, float(threshold), threads=_count(threads))
    return penalty if displacement.dtype == np.float64 else penalty.astype(np.float32)


def _axes(op: str, name: str, array: object) -> int:
    """Axes of an image besides example and channel."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{op}: {name} must be a numpy.ndarray, got {type(array).__name__}")
    return array.ndim - 2


def _count(threads: int | None) -> int:
    """Threads as the compiled operators take them, 0 for as many as there are cores."""
    return 0 if threads is None else whole(threads, "threads", at_least=1, below=2**15)


def _energy(
    name: str, field: Array, size: Sequence[int] | None, voxel_size: float | Sequence[float], threads: int | None
) -> Array:
    """Of a dense field, or of a lattice where there is a size."""
    axes = _axes(name, "field" if size is None else "lattice", field)
    if size is None:
        dense = getattr(operators, f"dense_{name}")
        return _total(dense(field, per_axis(voxel_size, axes), threads=_count(threads)), field)
    lengths = cell_lengths(name, field.shape[2:], size, voxel_size)
    energy, _ = getattr(operators, name)(field, lengths, threads=_count(threads))
    return _total(energy, field)


def _total(energy: NDArray[np.float64], field: Array) -> Array:
    total: Array = energy.sum(axis=1)
    return total if field.dtype == np.float64 else total.astype(np.float32)
