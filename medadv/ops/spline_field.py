"""The dense field of a cubic B-spline lattice, and the adjoint of that map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv.ops._registration import (
    check_tensor,
    register_batching,
    register_float32_autocast,
)


def spline_field(lattice: Tensor, size: Sequence[int]) -> Tensor:
    """Evaluate a cubic B-spline lattice at every voxel of an image.

    Args:
        lattice: ``[N, K, (Gz,) Gy, Gx]`` control points, at least 4 along every axis; float16, bfloat16, float32
            or float64. See :func:`medadv.ops.lattice_shape` for their number.
        size: ``[H, W]`` or ``[D, H, W]``, voxels of the field.

    Returns:
        ``[N, K, *size]``, of the lattice's dtype. Differentiable to any order.

    Raises:
        TypeError: ``lattice`` is not a tensor.
        ValueError: A wrong number of axes, fewer than 4 control points, or a dtype that is not floating.

    Example:
        >>> import torch
        >>> ramp = torch.arange(-1.0, 4.0).expand(1, 1, 4, 5)  # a spline reproduces linear functions
        >>> spline_field(ramp, (2, 5))[0, 0, 0]
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000])
    """
    check_tensor("spline_field", "lattice", lattice)
    field: Tensor = torch.ops.medadv.spline_field(lattice, list(size))
    return field


@register_fake("medadv::spline_field")
def _(lattice: Tensor, size: Sequence[int]) -> Tensor:
    return lattice.new_empty((*lattice.shape[:2], *size))


@register_fake("medadv::spline_field_adjoint")
def _(grad: Tensor, knots: Sequence[int]) -> Tensor:
    return grad.new_empty((*grad.shape[:2], *knots))


# Two linear maps, each the other's adjoint, so each is the other's gradient.


def _keep_knots(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    ctx.knots = inputs[0].shape[2:]


def _field_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return torch.ops.medadv.spline_field_adjoint(grad, list(ctx.knots)), None


def _keep_size(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    ctx.size = inputs[0].shape[2:]


def _adjoint_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return torch.ops.medadv.spline_field(grad, list(ctx.size)), None


register_autograd("medadv::spline_field", _field_backward, setup_context=_keep_knots)
register_autograd("medadv::spline_field_adjoint", _adjoint_backward, setup_context=_keep_size)
for _op in ("spline_field", "spline_field_adjoint"):
    register_batching(_op)
    register_float32_autocast(_op)
