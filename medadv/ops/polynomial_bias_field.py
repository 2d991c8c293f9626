"""The multiplicative bias field of a polynomial: an image times the exponential of a polynomial in its coordinates.

Nothing dense is stored: neither the field nor the monomials nor, where they move, the coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._arguments import whole
from medadv._polynomial import check_unmoved, control_grid
from medadv._words import Basis, CoordinateWarp, polynomial_words
from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)
from medadv.ops.thin_plate_spline import thin_plate_weights


def polynomial_bias_field(
    image: Tensor,
    coefficients: Tensor,
    control: Tensor | None = None,
    *,
    degree: int,
    basis: Basis = "legendre",
    warp: CoordinateWarp | None = None,
) -> Tensor:
    """Multiply an image by a smooth positive field, ``y = x * exp(sum of a_tl P_t(v) P_l(u))``.

    The sum runs over ``t + l <= degree`` (in 3D: ``s + t + l``), P_n is the Legendre polynomial or the power of degree
    n, and v and u are the coordinates of a voxel along height and width: -1 at the centre of the first voxel of an axis
    and 1 at that of the last one, 0 where there is only one. So coefficients mean the same at any resolution.

    With ``warp`` the coordinates move first, by displacements given at control points: a regular grid of at least 2
    points along every axis, whose first and last points lie on -1 and 1. A ``"thin_plate"`` spline goes through the
    displacements of the control points and bends least in between (kernel r^2 log r^2 in 2D, r in 3D); a ``"flow"`` is
    interpolated linearly between them, as ``interpolate(mode="bilinear", align_corners=True)`` would. Moved coordinates
    are not clamped: past -1 and 1 a polynomial of high degree grows fast.

    Args:
        image: ``[N, C, (D,) H, W]``; float16, bfloat16, float32 or float64 (half types are computed in float32).
        coefficients: ``[N, K, M]``, one for each of the M terms of :func:`polynomial_terms`, of the image's dtype; K is
            1 (one field for all channels) or C. Legendre polynomials stay within [-1, 1], so the gain of unmoved
            coordinates lies within exp(-b) and exp(b), b the sum of the magnitudes.
        control: ``[N, 2 or 3, (Gz,) Gy, Gx]``, displacements of the control points in units of the coordinates (2 is
            the whole axis), components in the order of the axes; any floating dtype. Only with ``warp``.
        degree: From 0 to 12.
        basis: ``"legendre"`` or ``"monomial"``.
        warp: ``None``, ``"thin_plate"`` or ``"flow"``.

    Returns:
        ``[N, C, (D,) H, W]``, contiguous, of the image's dtype. Differentiable once in all three arguments, and to any
        order in the image alone. The same bits for any number of threads. Coefficients of zero return the image, bit
        for bit.

    Raises:
        TypeError: An argument is not a tensor, or ``degree`` no whole number.
        ValueError: Shapes, dtypes, devices or words do not fit; the sentence names which.
        RuntimeError: A second derivative to the coefficients or the control points.

    Example:
        >>> import math, torch
        >>> image = torch.ones(1, 1, 3, 5)
        >>> along_the_width = torch.tensor([[[0.0, math.log(2), 0.0]]])  # terms (0, 0), (0, 1), (1, 0)
        >>> polynomial_bias_field(image, along_the_width, degree=1)[0, 0, 0]
        tensor([0.5000, 0.7071, 1.0000, 1.4142, 2.0000])
    """
    op = "polynomial_bias_field"
    check_tensor(op, "image", image)
    check_tensor(op, "coefficients", coefficients)
    settings = whole(degree, f"{op}: degree"), *polynomial_words(op, basis, warp)
    weights, grid = _weights(image, control, warp)
    out: Tensor = torch.ops.medadv.polynomial_bias_field(image, coefficients, weights, grid, *settings)
    return out


def _weights(image: Tensor, control: Tensor | None, warp: str | None) -> tuple[Tensor, list[int]]:
    """What the compiled operator takes for the control points: ``[N, axes, rows]``, and the shape of their grid."""
    op, axes = "polynomial_bias_field", image.dim() - 2
    arithmetic = torch.float64 if image.dtype == torch.float64 else torch.float32
    if warp is None:
        check_unmoved(op, control)
        return torch.empty((*image.shape[:1], max(axes, 0), 0), dtype=arithmetic, device=image.device), []
    check_tensor(op, "control", control)
    assert control is not None
    grid = control_grid(op, control.shape, axes)
    if not control.is_floating_point():
        raise ValueError(f"{op}: control must be of a floating dtype, got {control.dtype}")
    weights = control.flatten(2) if warp == "flow" else thin_plate_weights(control.to(arithmetic))
    return weights.to(arithmetic), grid


@register_fake("medadv::polynomial_bias_field")
def _(image: Tensor, coefficients: Tensor, weights: Tensor, *settings: Any) -> Tensor:
    return contiguous_like(image)


@register_fake("medadv::polynomial_bias_field_backward")
def _(grad: Tensor, image: Tensor, coefficients: Tensor, weights: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return contiguous_like(image), contiguous_like(coefficients), contiguous_like(weights)


@register_fake("medadv::polynomial_bias_field_parameters_backward")
def _(grad: Tensor, out: Tensor, coefficients: Tensor, weights: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return contiguous_like(coefficients), contiguous_like(weights)


# As for bias_field: an attack asks for the parameters' gradients alone, whose forces are gradient times output. Asked
# for the image's alone, the operator is its own gradient.


def _keep(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    image, coefficients, weights, *ctx.settings = inputs
    wants_image, *wants_parameters = ctx.needs_input_grad[:3]
    keep = None if not any(wants_parameters) else image if wants_image else output
    ctx.save_for_backward(keep, coefficients, weights)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved, coefficients, weights = ctx.saved_tensors
    wants_image, wants_coefficients, wants_weights = ctx.needs_input_grad[:3]
    ops, nothing = torch.ops.medadv, (None,) * len(ctx.settings)
    if saved is None:
        return ops.polynomial_bias_field(grad, coefficients, weights, *ctx.settings), None, None, *nothing
    of_image = None
    if wants_image:
        of_image, of_coefficients, of_weights = ops.polynomial_bias_field_backward(
            grad, saved, coefficients, weights, *ctx.settings, wants_weights
        )
    else:
        of_coefficients, of_weights = ops.polynomial_bias_field_parameters_backward(
            grad, saved, coefficients, weights, *ctx.settings, wants_weights
        )
    return (
        of_image,
        of_coefficients if wants_coefficients else None,
        of_weights if wants_weights else None,
        *nothing,
    )


def _refuse(ctx: Any, *cotangents: Tensor) -> Any:
    raise RuntimeError(
        "polynomial_bias_field: second derivatives to coefficients and control are not defined, only first ones"
    )


register_autograd("medadv::polynomial_bias_field", _backward, setup_context=_keep)
for _op in ("polynomial_bias_field_backward", "polynomial_bias_field_parameters_backward"):
    register_autograd(f"medadv::{_op}", _refuse, setup_context=lambda ctx, inputs, output: None)
    register_batching(_op)
register_batching("polynomial_bias_field")
register_float32_autocast("polynomial_bias_field")
