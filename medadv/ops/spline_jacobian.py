"""Jacobian determinants and the penalty on folding of the displacement of a B-spline lattice, which is never stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._lattice import image_geometry
from medadv.ops._deformation import determinant_curvature, penalty_curvature
from medadv.ops._registration import check_tensor, register_batching, register_float32_autocast


def lattice_determinant(lattice: Tensor, size: Sequence[int], voxel_size: float | Sequence[float]) -> Tensor:
    """:func:`medadv.ops.jacobian_determinant` of a lattice."""
    check_tensor("jacobian_determinant", "displacement", lattice)
    voxels, lengths = image_geometry("jacobian_determinant", size, voxel_size)
    out: Tensor = torch.ops.medadv.spline_jacobian_determinant(lattice, voxels, lengths)
    return out


def lattice_folding(
    lattice: Tensor, size: Sequence[int], voxel_size: float | Sequence[float], threshold: float
) -> Tensor:
    """:func:`medadv.ops.folding_penalty` of a lattice, in float64."""
    check_tensor("folding_penalty", "displacement", lattice)
    arguments = (lattice, *image_geometry("folding_penalty", size, voxel_size), threshold)
    penalty: Tensor
    if torch.is_grad_enabled() and lattice.requires_grad:
        penalty, _ = torch.ops.medadv.spline_folding_penalty_gradient(*arguments)
    else:
        penalty = torch.ops.medadv.spline_folding_penalty(*arguments)
    return penalty


def _slopes_of(size: Sequence[int], voxel_size: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Derivatives of every component along every axis, ``[N, component, *G] -> [N, component, axis, *S]``."""
    along = [[int(a == axis) for a in range(len(size))] for axis in range(len(size))]
    return lambda lattice: torch.stack(
        [torch.ops.medadv.spline_derivative(lattice, size, order, voxel_size) for order in along], 2
    )


def _adjoint_of(knots: Sequence[int], voxel_size: Sequence[float]) -> Callable[[Tensor], Tensor]:
    def adjoint(forces: Tensor) -> Tensor:
        total = forces.new_zeros(())
        for axis in range(len(knots)):
            order = [int(a == axis) for a in range(len(knots))]
            total = total + torch.ops.medadv.spline_derivative_adjoint(forces[:, :, axis], knots, order, voxel_size)
        return total

    return adjoint


@register_fake("medadv::spline_jacobian_determinant")
def _(lattice: Tensor, size: Sequence[int], voxel_size: Sequence[float]) -> Tensor:
    return lattice.new_empty((lattice.shape[0], *size))


@register_fake("medadv::spline_jacobian_determinant_backward")
def _(grad: Tensor, lattice: Tensor, voxel_size: Sequence[float]) -> Tensor:
    return lattice.new_empty(lattice.shape)


@register_fake("medadv::spline_folding_penalty")
def _(lattice: Tensor, size: Sequence[int], voxel_size: Sequence[float], threshold: float) -> Tensor:
    return lattice.new_empty(lattice.shape[:1], dtype=torch.float64)


@register_fake("medadv::spline_folding_penalty_gradient")
def _(lattice: Tensor, size: Sequence[int], voxel_size: Sequence[float], threshold: float) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if lattice.dtype == torch.float64 else torch.float32
    return lattice.new_empty(lattice.shape[:1], dtype=torch.float64), lattice.new_empty(lattice.shape, dtype=wide)


def _keep_determinant(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    lattice, _, ctx.voxel_size = inputs
    ctx.save_for_backward(lattice)


def _determinant_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (lattice,) = ctx.saved_tensors
    return torch.ops.medadv.spline_jacobian_determinant_backward(grad, lattice, ctx.voxel_size), None, None


def _keep_gradient(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    grad, lattice, ctx.voxel_size = inputs
    ctx.save_for_backward(grad, lattice)


def _determinant_backward_backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, None]:
    grad, lattice = ctx.saved_tensors
    slopes = _slopes_of(grad.shape[1:], ctx.voxel_size)
    adjoint = _adjoint_of(lattice.shape[2:], ctx.voxel_size)
    return *determinant_curvature(v, grad, lattice, slopes, adjoint), None


# Penalty and gradient come from one pass: the gradient to a lattice is small enough to keep. Where it was not foreseen
# that one will be asked for (under vmap a tensor does not tell), it costs a second pass.


def _scaled(scale: Tensor, gradient: Tensor, like: Tensor) -> Tensor:
    return (scale.reshape(-1, *[1] * (gradient.dim() - 1)) * gradient).to(like.dtype)


def _keep_penalty(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    lattice, *ctx.settings = inputs
    ctx.save_for_backward(lattice)


def _penalty_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    (lattice,) = ctx.saved_tensors
    _, gradient = torch.ops.medadv.spline_folding_penalty_gradient(lattice, *ctx.settings)
    return _scaled(grad, gradient, lattice), None, None, None


def _keep_both(ctx: Any, inputs: Sequence[Any], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    lattice, *ctx.settings = inputs
    ctx.save_for_backward(lattice, output[1])


def _both_backward(
    ctx: Any, grad_penalty: Tensor | None, grad_gradient: Tensor | None
) -> tuple[Tensor | None, None, None, None]:
    lattice, gradient = ctx.saved_tensors
    size, voxel_size, threshold = ctx.settings
    total = None if grad_penalty is None else _scaled(grad_penalty, gradient, lattice)
    if grad_gradient is not None:
        slopes, adjoint = _slopes_of(size, voxel_size), _adjoint_of(lattice.shape[2:], voxel_size)
        ones = gradient.new_ones(len(gradient))
        u = lattice.to(gradient.dtype)
        curvature = penalty_curvature(grad_gradient, ones, u, threshold, slopes, adjoint)[1].to(lattice.dtype)
        total = curvature if total is None else total + curvature
    return total, None, None, None


register_autograd("medadv::spline_jacobian_determinant", _determinant_backward, setup_context=_keep_determinant)
register_autograd(
    "medadv::spline_jacobian_determinant_backward", _determinant_backward_backward, setup_context=_keep_gradient
)
register_autograd("medadv::spline_folding_penalty", _penalty_backward, setup_context=_keep_penalty)
register_autograd("medadv::spline_folding_penalty_gradient", _both_backward, setup_context=_keep_both)
for _op in ("spline_jacobian_determinant", "spline_folding_penalty", "spline_folding_penalty_gradient"):
    register_batching(_op)
    register_float32_autocast(_op)
register_batching("spline_jacobian_determinant_backward")
