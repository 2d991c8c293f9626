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

**Memory**: arrays are read where they lie, and must therefore be C-contiguous; nothing is copied or cast, unless an
argument may be of any layout. Results are new arrays, or go to ``out``, which must have exactly their shape and dtype
and share no memory with an argument.

**Threads**: ``threads`` is the most that a call may use; None means one per core, fewer where the work is small. The
result has the same bits for any number. The GIL is released meanwhile.

**dtypes** are float32 and float64, and float16, stored as such and computed in float32; all arrays of a call have the
same one. :func:`warp` and :func:`spline_warp` also move labels (see there).

Every function raises TypeError where an argument is no array, and ValueError, in one sentence that names the argument,
where an array cannot be used as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv._arguments import any_real, real, whole
from medadv._chain import chain_settings, is_one_operator
from medadv._core import operators
from medadv._flow import check_displacement, check_pair, check_steps
from medadv._lattice import cell_lengths, image_geometry, lattice_shape, per_axis, whole_numbers
from medadv._polynomial import check_unmoved, control_grid, polynomial_terms
from medadv._thin_plate import thin_plate_weights
from medadv._words import (
    Basis,
    BlurPadding,
    CoordinateWarp,
    Interpolation,
    Padding,
    RowNorm,
    blur_padding,
    check_bounds,
    check_radius,
    noise_norm,
    polynomial_words,
    row_norm,
    sampling_words,
)

__all__ = [
    "add_noise",
    "bending_energy",
    "bias_field",
    "compose",
    "exponentiate",
    "folding_penalty",
    "gaussian_blur",
    "jacobian_determinant",
    "lattice_shape",
    "membrane_energy",
    "polynomial_bias_field",
    "polynomial_terms",
    "project_noise",
    "row_lengths",
    "sign_step",
    "spline_field",
    "spline_warp",
    "total_variation",
    "transform_chain",
    "unit_rows",
    "unit_step",
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


def polynomial_bias_field(
    image: Array,
    coefficients: Array,
    control: Array | None = None,
    *,
    degree: int,
    basis: Basis = "legendre",
    warp: CoordinateWarp | None = None,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Multiply an image by a smooth positive field, ``y = x * exp(sum of a_tl P_t(v) P_l(u))``.

    See :func:`medadv.ops.polynomial_bias_field` for the polynomials, and for how ``warp`` moves their coordinates.

    Args:
        image: ``[N, C, (D,) H, W]``.
        coefficients: ``[N, K, M]``, one for each of the M terms of :func:`polynomial_terms`; K is 1 (one field for all
            channels) or C.
        control: ``[N, 2 or 3, (Gz,) Gy, Gx]``, displacements of the control points in units of the coordinates (2 is
            the whole axis), at least 2 points along every axis; of any floating dtype and layout. Only with ``warp``.
        degree: From 0 to 12.
        basis: ``"legendre"`` or ``"monomial"``.
        warp: ``None``, ``"thin_plate"`` or ``"flow"``.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, C, (D,) H, W]``.

    Example:
        >>> import math
        >>> along_the_width = np.array([[[0.0, math.log(2), 0.0]]])  # terms (0, 0), (0, 1), (1, 0)
        >>> polynomial_bias_field(np.ones((1, 1, 3, 5)), along_the_width, degree=1)[0, 0, 0].round(4)
        array([0.5   , 0.7071, 1.    , 1.4142, 2.    ])
    """
    settings = whole(degree, "polynomial_bias_field: degree"), *polynomial_words("polynomial_bias_field", basis, warp)
    weights, grid = _motion_weights(image, control, warp)
    return operators.polynomial_bias_field(
        image, coefficients, weights, grid, *settings, out=out, threads=_count(threads)
    )


def spline_field(
    lattice: Array,
    size: Sequence[int],
    derivative: Sequence[int] | None = None,
    voxel_size: float | Sequence[float] = 1.0,
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Evaluate a cubic B-spline lattice, or a derivative of it, at every voxel of an image.

    See :func:`medadv.ops.spline_field`.

    Args:
        lattice: ``[N, K, (Gz,) Gy, Gx]`` control points, at least 4 along every axis.
        size: ``[H, W]`` or ``[D, H, W]``, voxels of the field; at least 2 along an axis of the derivative.
        derivative: Its order along every axis, 2 in all at most. None for the field itself.
        voxel_size: Length of a voxel, one number or one per axis; derivatives are taken per this unit.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, K, *size]``.

    Example:
        >>> ramp = np.tile(np.arange(-1.0, 4.0), (1, 1, 4, 1))  # a spline reproduces linear functions
        >>> spline_field(ramp, (2, 5))[0, 0, 0]
        array([0. , 0.5, 1. , 1.5, 2. ])
        >>> spline_field(ramp, (2, 5), derivative=(0, 1))[0, 0, 0]  # 1 per cell of two voxels
        array([0.5, 0.5, 0.5, 0.5, 0.5])
    """
    voxels = whole_numbers("spline_field", "size", size)
    if derivative is None:
        return operators.spline_field(lattice, voxels, out=out, threads=_count(threads))
    orders = whole_numbers("spline_field", "derivative", derivative)
    lengths = per_axis("spline_field", "voxel_size", voxel_size, len(voxels))
    return operators.spline_derivative(lattice, voxels, orders, lengths, out=out, threads=_count(threads))


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


def compose(outer: Array, inner: Array, *, out: Array | None = None, threads: int | None = None) -> Array:
    """Compute the displacement of one deformation after another, ``(id + outer) o (id + inner)``.

    See :func:`medadv.ops.compose`.

    Args:
        outer: ``[N, 2, H, W]`` or ``[N, 3, D, H, W]``, the displacement that comes second, in voxels, components in
            the order of the axes.
        inner: The displacement that comes first; of the shape and dtype of ``outer``.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        The displacement of both, of the shape and dtype of ``outer``.

    Example:
        >>> right = np.zeros((1, 2, 3, 3))
        >>> right[:, 1] = 1.5
        >>> compose(right, right)[0, :, 1, 1]
        array([0., 3.])
    """
    for name, field in (("outer", outer), ("inner", inner)):
        _check_displacement("compose", name, field)
    check_pair(outer, inner)
    return _compose(outer, inner, out, threads)


def exponentiate(velocity: Array, steps: int = 7, *, threads: int | None = None) -> Array:
    """Compute the displacement at time 1 of the flow along a velocity field, its exponential, by scaling and squaring.

    See :func:`medadv.ops.exponentiate`. Takes the memory of two displacements, whatever ``steps`` is.

    Args:
        velocity: ``[N, 2, H, W]`` or ``[N, 3, D, H, W]``, in voxels per unit of time, components in the order of the
            axes; of any layout.
        steps: How often the displacement is composed with itself, 0 to 30.
        threads: At most so many.

    Returns:
        The displacement at time 1, of the shape and dtype of ``velocity``.

    Example:
        >>> down = np.zeros((1, 2, 3, 3))
        >>> down[:, 0] = 2.0
        >>> exponentiate(down)[0, :, 0, 0]  # a constant velocity is a translation
        array([2., 0.])
    """
    _check_displacement("exponentiate", "velocity", velocity)
    check_steps(steps)
    displacement = np.multiply(velocity, 2.0**-steps, dtype=_arithmetic(velocity), order="C")
    spare = None
    for _ in range(steps):
        displacement, spare = _compose(displacement, displacement, spare, threads), displacement
    return displacement.astype(velocity.dtype, copy=False)


def transform_chain(
    image: Array,
    displacement: Array | None = None,
    log_gain: Array | None = None,
    noise: Array | None = None,
    bounds: tuple[float, float] | None = None,
    *,
    origin: float = 0.0,
    interpolation: Interpolation = "linear",
    padding: Padding = "zeros",
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Move an image, multiply it by a smooth gain, add noise and clip, without the images in between.

    See :func:`medadv.ops.transform_chain`. Any stage may be left out.

    Args:
        image: ``[N, C, (D,) H, W]``.
        displacement: ``[N, 2 or 3, (Gz,) Gy, Gx]``, lattice of displacements, as in :func:`spline_warp`.
        log_gain: ``[N, K, (Gz',) Gy', Gx']``, lattice of logarithms of the gain, as in :func:`bias_field`.
        noise: ``[N, C, (D,) H, W]``, or ``[N, 1, (D,) H, W]`` for all channels.
        bounds: Lowest and highest value of the result.
        origin: The intensity that a gain leaves as it is, in image units.
        interpolation: ``"nearest"``, ``"linear"`` or ``"cubic"``.
        padding: ``"zeros"``, ``"border"`` or ``"reflection"``.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, C, (D,) H, W]``, of the image's dtype.

    Example:
        >>> import math
        >>> image = np.arange(5.0).reshape(1, 1, 1, 5).repeat(2, axis=2)
        >>> to_the_right = np.zeros((1, 2, 4, 4))
        >>> to_the_right[:, 1] = 0.5
        >>> brighter = np.full((1, 1, 4, 4), math.log(1.5))
        >>> transform_chain(image, to_the_right, brighter, bounds=(0.0, 5.0), padding="border")[0, 0, 0].round(6)
        array([0.75, 2.25, 3.75, 5.  , 5.  ])
    """
    limits, origin = chain_settings(bounds, origin)
    words = sampling_words("transform_chain", interpolation, padding)
    if is_one_operator(displacement, log_gain, noise, limits, origin):
        if displacement is not None:
            return spline_warp(image, displacement, interpolation, padding, out=out, threads=threads)
        if log_gain is not None:
            return bias_field(image, log_gain, out=out, threads=threads)
    return operators.transform_chain(
        image, displacement, log_gain, noise, limits, origin, *words, out=out, threads=_count(threads)
    )


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
    word, sigmas = (
        blur_padding("gaussian_blur", padding),
        per_axis("gaussian_blur", "sigma", sigma, _axes("gaussian_blur", "image", image)),
    )
    radius = real(truncate, "gaussian_blur: truncate")
    return operators.gaussian_blur(image, sigmas, word, radius, out=out, threads=_count(threads))


def add_noise(
    image: Array,
    noise: Array,
    bounds: tuple[float, float],
    towards: Array | None = None,
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Add noise to an image, rounded towards the image, and clip the sum to the bounds.

    See :func:`medadv.ops.add_noise`.

    Args:
        image: ``[N, ...]``, float32 or float64, inside the bounds.
        noise: The same shape and dtype.
        bounds: (low, high) in image units.
        towards: The same shape and dtype: the sum is rounded towards this instead.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, ...]``.

    Example:
        >>> add_noise(np.array([[0.25, 1.0]]), np.array([[0.5, 0.5]]), (0.0, 1.0))
        array([[0.75, 1.  ]])
    """
    limits = check_bounds("add_noise", bounds)
    return operators.add_noise(image, noise, towards, *limits, out=out, threads=_count(threads))


def project_noise(
    image: Array,
    noise: Array,
    bounds: tuple[float, float],
    radius: float,
    norm: RowNorm = "linf",
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Noise that keeps the image inside the bounds, inside a ball.

    See :func:`medadv.ops.project_noise`.

    Args:
        image: ``[N, ...]``, float32 or float64, inside the bounds.
        noise: The same shape and dtype.
        bounds: (low, high) in image units.
        radius: Of the ball, in image units, at least 0.
        norm: ``"linf"`` or ``"l2"``.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, ...]``.

    Example:
        >>> project_noise(np.array([[0.5, 1.0]]), np.array([[-0.25, 0.125]]), (0.0, 1.0), 0.125)
        array([[-0.125,  0.   ]])
    """
    limits, word = check_bounds("project_noise", bounds), noise_norm("project_noise", norm)
    radius = any_real(radius, "project_noise: radius")
    return operators.project_noise(image, noise, *limits, radius, word, out=out, threads=_count(threads))


def sign_step(
    image: Array,
    noise: Array,
    gradient: Array,
    length: float,
    bounds: tuple[float, float],
    radius: float,
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> tuple[Array, Array]:
    """Noise after a step of the sign of a gradient, inside the image bounds and the L-infinity ball; and the image.

    See :func:`medadv.ops.sign_step`.

    Args:
        image: ``[N, ...]``, float32 or float64, inside the bounds.
        noise: The same shape and dtype.
        gradient: The same shape and dtype; no step where it is 0 or no number.
        length: Of the step, in image units, finite; below 0 downhill.
        bounds: (low, high) in image units.
        radius: Of the ball, in image units, at least 0.
        out: Where the noise goes.
        threads: At most so many.

    Returns:
        The noise and the image with it, each ``[N, ...]``.

    Example:
        >>> sign_step(np.array([[0.5, 1.0]]), np.zeros((1, 2)), np.array([[-3.0, 2.0]]), 0.25, (0.0, 1.0), 0.125)
        (array([[-0.125,  0.   ]]), array([[0.375, 1.   ]]))
    """
    limits = check_bounds("sign_step", bounds)
    length, radius = any_real(length, "sign_step: length"), any_real(radius, "sign_step: radius")
    return operators.sign_step(image, noise, gradient, length, *limits, radius, out=out, threads=_count(threads))


def unit_step(
    image: Array,
    noise: Array,
    gradient: Array,
    length: float,
    bounds: tuple[float, float],
    radius: float | NDArray[np.float64],
    norm: RowNorm = "l2",
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Noise after a step of one length along a gradient, inside the image bounds and a ball.

    See :func:`medadv.ops.unit_step`.

    Args:
        image: ``[N, ...]``, float32 or float64, inside the bounds.
        noise: The same shape and dtype.
        gradient: The same shape and dtype.
        length: Of the step, in image units, finite; below 0 downhill.
        bounds: (low, high) in image units.
        radius: Of the ball, in image units, at least 0; or ``[N]`` float64, one for every row.
        norm: ``"linf"``, or ``"l2"``, of the ball.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, ...]``.

    Example:
        >>> unit_step(np.full((1, 2), 0.5), np.zeros((1, 2)), np.array([[3.0, -4.0]]), 0.5, (0.0, 1.0), 0.25)
        array([[ 0.15, -0.2 ]])
    """
    if isinstance(radius, np.ndarray):
        radii = radius
    else:
        radii = np.full(np.shape(image)[:1], check_radius("unit_step", radius))
    word = noise_norm("unit_step", norm)
    step = (image, noise, gradient, any_real(length, "unit_step: length"), *check_bounds("unit_step", bounds))
    return operators.unit_step(*step, radii, word, out=out, threads=_count(threads))


def row_lengths(
    values: Array, norm: RowNorm = "l2", origin: Array | None = None, *, threads: int | None = None
) -> NDArray[np.float64]:
    """The length of every row, or of its difference from another, in float64.

    See :func:`medadv.ops.row_lengths`.

    Args:
        values: ``[N, ...]``.
        norm: ``"linf"``, ``"l1"`` or ``"l2"``.
        origin: The same shape and dtype: what rows are measured from; None: zeros.
        threads: At most so many.

    Returns:
        ``[N]`` float64.

    Example:
        >>> row_lengths(np.array([[3.0, -4.0], [0.0, 2.0]]))
        array([5., 2.])
    """
    return operators.row_lengths(values, origin, row_norm("row_lengths", norm), threads=_count(threads))


def unit_rows(values: Array, norm: RowNorm = "l2", *, out: Array | None = None, threads: int | None = None) -> Array:
    """Every row divided by its length; a row of zeros stays.

    See :func:`medadv.ops.unit_rows`.

    Args:
        values: ``[N, ...]``.
        norm: ``"linf"``, ``"l1"`` or ``"l2"``.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        ``[N, ...]``.

    Example:
        >>> unit_rows(np.array([[3.0, -4.0], [0.0, 0.0]]))
        array([[ 0.6, -0.8],
               [ 0. ,  0. ]])
    """
    return operators.unit_rows(values, row_norm("unit_rows", norm), out=out, threads=_count(threads))


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
    lengths = per_axis("total_variation", "voxel_size", voxel_size, _axes("total_variation", "field", field))
    return _total(operators.dense_total_variation(field, lengths, threads=_count(threads)), field)


def jacobian_determinant(
    displacement: Array,
    size: Sequence[int] | None = None,
    voxel_size: float | Sequence[float] = 1.0,
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Compute the Jacobian determinant of ``x -> x + u(x)``.

    See :func:`medadv.ops.jacobian_determinant`: at the voxels of an image where u is a lattice over it, else between
    the voxels of a dense u.

    Args:
        displacement: ``[N, 2, Gy, Gx]`` or ``[N, 3, Gz, Gy, Gx]`` control points, or ``[N, 2, H, W]`` or
            ``[N, 3, D, H, W]`` voxels; components in the order of the axes.
        size: Of a lattice: voxels of the image that it spans, at least 2 along every axis. None for a dense field.
        voxel_size: Length of a voxel in the unit of the displacement, one number or one per axis.
        out: Where the result goes.
        threads: At most so many.

    Returns:
        Of a lattice ``[N, *size]``, of a dense field ``[N, (D - 1,) H - 1, W - 1]``.

    Example:
        >>> grow = np.zeros((1, 2, 4, 4))
        >>> grow[:, 1] = np.arange(4.0)
        >>> jacobian_determinant(grow)[0, 0]  # of voxels: stretches the width by 1
        array([2., 2., 2.])
        >>> jacobian_determinant(grow, size=(2, 3))[0, 0]  # of a lattice: 1 per cell, which is two voxels
        array([1.5, 1.5, 1.5])
    """
    axes = _axes("jacobian_determinant", "displacement", displacement)
    if size is not None:
        geometry = image_geometry("jacobian_determinant", size, voxel_size)
        return operators.spline_jacobian_determinant(displacement, *geometry, out=out, threads=_count(threads))
    lengths = per_axis("jacobian_determinant", "voxel_size", voxel_size, axes)
    return operators.jacobian_determinant(displacement, lengths, out=out, threads=_count(threads))


def folding_penalty(
    displacement: Array,
    size: Sequence[int] | None = None,
    voxel_size: float | Sequence[float] = 1.0,
    threshold: float = 0.01,
    *,
    threads: int | None = None,
) -> Array:
    """Penalise a deformation where it folds, or nearly does: the mean of ``max(threshold - det, 0)^2``.

    See :func:`medadv.ops.folding_penalty`.

    Args:
        displacement: Control points of a lattice, or voxels of a dense field, as for :func:`jacobian_determinant`.
        size: Of a lattice: voxels of the image that it spans, at least 2 along every axis. None for a dense field.
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
    penalty: Array
    axes = _axes("folding_penalty", "displacement", displacement)
    threshold = real(threshold, "folding_penalty: threshold")
    if size is not None:
        geometry = image_geometry("folding_penalty", size, voxel_size)
        penalty = operators.spline_folding_penalty(displacement, *geometry, threshold, threads=_count(threads))
    else:
        lengths = per_axis("folding_penalty", "voxel_size", voxel_size, axes)
        penalty = operators.folding_penalty(displacement, lengths, threshold, threads=_count(threads))
    return penalty.astype(_arithmetic(displacement), copy=False)


def _axes(op: str, name: str, array: object) -> int:
    """Axes of an image besides example and channel."""
    return _checked_array(op, name, array).ndim - 2


def _checked_array(op: str, name: str, array: object) -> Array:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{op}: {name} must be a numpy.ndarray, got {type(array).__name__}")
    return array


def _check_displacement(op: str, name: str, field: object) -> None:
    check_displacement(op, name, _checked_array(op, name, field), (np.float16, np.float32, np.float64))


def _arithmetic(array: Array) -> type[np.float32 | np.float64]:
    """What is computed in."""
    return np.float64 if array.dtype == np.float64 else np.float32


def _compose(outer: Array, inner: Array, out: Array | None, threads: int | None) -> Array:
    moved = operators.compose(
        outer, inner, *sampling_words("compose", "linear", "border"), out=out, threads=_count(threads)
    )
    moved += inner
    return moved


def _motion_weights(image: Array, control: Array | None, warp: str | None) -> tuple[Array, list[int]]:
    """What the compiled polynomial_bias_field takes for the control points: ``[N, axes, rows]``, and their grid."""
    op = "polynomial_bias_field"
    axes, arithmetic = _axes(op, "image", image), _arithmetic(image)
    if warp is None:
        check_unmoved(op, control)
        return np.empty((*image.shape[:1], max(axes, 0), 0), arithmetic), []
    control = _checked_array(op, "control", control)
    grid = control_grid(op, control.shape, axes)
    if not np.issubdtype(control.dtype, np.floating):
        raise ValueError(f"{op}: control must be of a floating dtype, got {control.dtype}")
    values = np.ascontiguousarray(control, arithmetic)
    weights = values.reshape(*values.shape[:2], math.prod(grid)) if warp == "flow" else thin_plate_weights(values)
    return weights.astype(arithmetic, copy=False), grid


def _count(threads: int | None) -> int:
    """Threads as the compiled operators take them, 0 for as many as there are cores."""
    return 0 if threads is None else whole(threads, "threads", at_least=1, below=2**15)


def _energy(
    name: str, field: Array, size: Sequence[int] | None, voxel_size: float | Sequence[float], threads: int | None
) -> Array:
    """Of a dense field, or of a lattice where there is a size."""
    axes = _axes(name, "field", field)
    if size is None:
        dense = getattr(operators, f"dense_{name}")
        return _total(dense(field, per_axis(name, "voxel_size", voxel_size, axes), threads=_count(threads)), field)
    lengths = cell_lengths(name, field.shape[2:], size, voxel_size)
    energy, _ = getattr(operators, name)(field, lengths, threads=_count(threads))
    return _total(energy, field)


def _total(energy: NDArray[np.float64], field: Array) -> Array:
    total: Array = energy.sum(axis=1)
    return total.astype(_arithmetic(field), copy=False)
