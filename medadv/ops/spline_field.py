"""The dense field of a cubic B-spline lattice and its derivatives, and the adjoints of those maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._lattice import per_axis, whole_numbers
from medadv.ops._registration import (
    check_tensor,
    register_batching,
    register_float32_autocast,
)


def spline_field(
    lattice: Tensor,
    size: Sequence[int],
    derivative: Sequence[int] | None = None,
    voxel_size: float | Sequence[float] = 1.0,
) -> Tensor:
    """Evaluate a cubic B-spline lattice, or a derivative of it, at every voxel of an image.

    Derivatives are exact, and cost what the field itself costs. A second derivative is a broken line along its axis:
    the spline is twice continuously differentiable, not more.

    Args:
        lattice: ``[N, K, (Gz,) Gy, Gx]`` control points, at least 4 along every axis; float16, bfloat16, float32
            or float64. See :func:`medadv.ops.lattice_shape` for their number.
        size: ``[H, W]`` or ``[D, H, W]``, voxels of the field; at least 2 along an axis of the derivative.
        derivative: Its order along every axis, 2 in all at most: ``(0, 1)`` is the slope along the width, ``(1, 1)``
            the mixed second derivative. None for the field itself.
        voxel_size: Length of a voxel, one number or one per axis; derivatives are taken per this unit.

    Returns:
        ``[N, K, *size]``, of the lattice's dtype. Differentiable to any order; the same bits for any number of
        threads.

    Raises:
        TypeError: ``lattice`` is not a tensor, ``size`` or ``derivative`` not whole numbers, ``voxel_size`` no number
            nor one per axis.
        ValueError: A wrong number of axes, fewer than 4 control points, a dtype that is not floating, an order that
            is negative or more than 2 in all, a voxel size that is not positive, or with
            which the factors of derivatives overflow.

    Example:
        >>> import torch
        >>> ramp = torch.arange(-1.0, 4.0).expand(1, 1, 4, 5)  # a spline reproduces linear functions
        >>> spline_field(ramp, (2, 5))[0, 0, 0]
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000])
        >>> spline_field(ramp, (2, 5), derivative=(0, 1))[0, 0, 0]  # 1 per cell of two voxels
        tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000])
    """
    check_tensor("spline_field", "lattice", lattice)
    voxels = whole_numbers("spline_field", "size", size)
    field: Tensor
    if derivative is None:
        field = torch.ops.medadv.spline_field(lattice, voxels)
    else:
        orders = whole_numbers("spline_field", "derivative", derivative)
        lengths = per_axis("spline_field", "voxel_size", voxel_size, len(voxels))
        field = torch.ops.medadv.spline_derivative(lattice, voxels, orders, lengths)
    return field


@register_fake("medadv::spline_field")
def _(lattice: Tensor, size: Sequence[int]) -> Tensor:
    return lattice.new_empty((*lattice.shape[:2], *size))


@register_fake("medadv::spline_field_adjoint")
def _(grad: Tensor, knots: Sequence[int]) -> Tensor:
    return grad.new_empty((*grad.shape[:2], *knots))


@register_fake("medadv::spline_derivative")
def _(lattice: Tensor, size: Sequence[int], derivative: Sequence[int], voxel_size: Sequence[float]) -> Tensor:
    return lattice.new_empty((*lattice.shape[:2], *size))


@register_fake("medadv::spline_derivative_adjoint")
def _(grad: Tensor, knots: Sequence[int], derivative: Sequence[int], voxel_size: Sequence[float]) -> Tensor:
    return grad.new_empty((*grad.shape[:2], *knots))


# Pairs of linear maps, each the other's adjoint, so each is the other's gradient.


def _keep_knots(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    ctx.knots = inputs[0].shape[2:]


def _field_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return torch.ops.medadv.spline_field_adjoint(grad, list(ctx.knots)), None


def _keep_size(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    ctx.size = inputs[0].shape[2:]


def _adjoint_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return torch.ops.medadv.spline_field(grad, list(ctx.size)), None


def _keep_derivative(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    ctx.axes = inputs[0].shape[2:]
    ctx.derivative = inputs[2:]


def _derivative_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return torch.ops.medadv.spline_derivative_adjoint(grad, list(ctx.axes), *ctx.derivative), None, None, None


def _derivative_adjoint_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return torch.ops.medadv.spline_derivative(grad, list(ctx.axes), *ctx.derivative), None, None, None


register_autograd("medadv::spline_field", _field_backward, setup_context=_keep_knots)
register_autograd("medadv::spline_field_adjoint", _adjoint_backward, setup_context=_keep_size)
register_autograd("medadv::spline_derivative", _derivative_backward, setup_context=_keep_derivative)
register_autograd("medadv::spline_derivative_adjoint", _derivative_adjoint_backward, setup_context=_keep_derivative)
for _op in ("spline_field", "spline_derivative"):
    for _name in (_op, f"{_op}_adjoint"):
        register_batching(_name)
        register_float32_autocast(_name)
