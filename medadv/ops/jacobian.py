"""The Jacobian determinant of a deformation, and the penalty on folding.

A deformation moves the point x to x + u(x). Its Jacobian determinant is the volume that a small cube around x takes
afterwards: 1 where nothing changes, below 1 where tissue shrinks, and not positive where space folds over itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._arguments import real
from medadv._lattice import per_axis
from medadv.ops._deformation import Map, determinant_curvature, penalty_curvature
from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)
from medadv.ops.spline_jacobian import lattice_determinant, lattice_folding


def jacobian_determinant(
    displacement: Tensor, size: Sequence[int] | None = None, voxel_size: float | Sequence[float] = 1.0
) -> Tensor:
    """Compute the Jacobian determinant ``det(I + du/dx)`` of ``x -> x + u(x)``.

    With ``size``, ``displacement`` is a B-spline lattice; derivatives of the spline are exact, and there is one
    determinant per voxel. Without, it is a dense field: forward differences give one determinant per cell between
    2 x 2 (x 2) voxels, one cell less than voxels along every axis, because the last voxel has no neighbour to form a
    difference with.

    Args:
        displacement: ``[N, 2, Gy, Gx]`` or ``[N, 3, Gz, Gy, Gx]`` control points, at least 4 along every axis; or
            ``[N, 2, H, W]`` or ``[N, 3, D, H, W]`` voxels. Components in the order of the axes; float16, bfloat16,
            float32 or float64 (half types are computed in float32).
        size: Of a lattice: ``[H, W]`` or ``[D, H, W]``, voxels of the image that it spans, at least 2 along every
            axis. None for a dense field.
        voxel_size: Length of a voxel in the unit of the displacement, one number or one per axis; 1 for a
            displacement in voxels.

    Returns:
        Of a lattice ``[N, *size]``, of a dense field ``[N, (D - 1,) H - 1, W - 1]``; of the displacement's dtype.
        Differentiable to any order; the same bits for any number of threads.

    Raises:
        TypeError: ``displacement`` is not a tensor, ``size`` not whole numbers, or ``voxel_size`` no number nor one per
            axis.
        ValueError: As many components as axes are expected, an axis of a lattice's image of at least two voxels, and
            positive voxel sizes whose inverse is finite.

    Example:
        >>> import torch
        >>> grow = 0.5 * torch.arange(4.0).expand(1, 1, 3, 4)  # stretches the width by a half
        >>> jacobian_determinant(torch.cat([torch.zeros_like(grow), grow], 1))[0, 0]
        tensor([1.5000, 1.5000, 1.5000])
        >>> grow = torch.arange(4.0).expand(1, 1, 4, 4)  # 1 per cell, and the lattice has one cell
        >>> jacobian_determinant(torch.cat([torch.zeros_like(grow), grow], 1), size=(2, 3))[0, 0]
        tensor([1.5000, 1.5000, 1.5000])
    """
    if size is not None:
        return lattice_determinant(displacement, size, voxel_size)
    check_tensor("jacobian_determinant", "displacement", displacement)
    out: Tensor = torch.ops.medadv.jacobian_determinant(
        displacement, per_axis("jacobian_determinant", "voxel_size", voxel_size, displacement.dim() - 2)
    )
    return out


def folding_penalty(
    displacement: Tensor,
    size: Sequence[int] | None = None,
    voxel_size: float | Sequence[float] = 1.0,
    threshold: float = 0.01,
) -> Tensor:
    """Penalise a deformation where it folds, or nearly does: the mean of ``max(threshold - det, 0)^2``.

    The determinants are those of :func:`jacobian_determinant`; none is stored. Of a lattice, penalty and gradient
    come from one pass, which skips what has no force: where nothing folds, the gradient costs next to nothing.

    Args:
        displacement: Control points of a lattice, or voxels of a dense field, as for :func:`jacobian_determinant`.
        size: Of a lattice: ``[H, W]`` or ``[D, H, W]``, voxels of the image that it spans, at least 2 along every
            axis. None for a dense field.
        voxel_size: Length of a voxel in the unit of the displacement, one number or one per axis.
        threshold: Determinants below it are penalised.

    Returns:
        ``[N]``, means over the voxels (of a dense field: the cells) of each example, 0 where there is none; float64
        for a float64 displacement, else float32. Differentiable to any order; the same bits for any number of
        threads. On CUDA the gradient to a lattice takes the memory of one image's displacement, or 64 MB if that is
        more.

    Raises:
        TypeError: ``displacement`` is not a tensor, ``size`` not whole numbers, ``voxel_size`` no number nor one per
            axis, or ``threshold`` no number.
        ValueError: As many components as axes are expected, an axis of a lattice's image of at least two voxels,
            positive voxel sizes whose inverse is finite, and a finite threshold.

    Example:
        >>> import torch
        >>> mirror = -2 * torch.arange(4.0).expand(1, 1, 3, 4)  # turns the width around: determinant -1
        >>> folding_penalty(torch.cat([torch.zeros_like(mirror), mirror], 1), threshold=0.0)
        tensor([1.])
    """
    threshold = real(threshold, "folding_penalty: threshold")
    if size is not None:
        penalty = lattice_folding(displacement, size, voxel_size, threshold)
    else:
        check_tensor("folding_penalty", "displacement", displacement)
        lengths = per_axis("folding_penalty", "voxel_size", voxel_size, displacement.dim() - 2)
        penalty = torch.ops.medadv.folding_penalty(displacement, lengths, threshold)
    return penalty if displacement.dtype == torch.float64 else penalty.float()


@register_fake("medadv::jacobian_determinant")
def _(displacement: Tensor, voxel_size: Sequence[float]) -> Tensor:
    return displacement.new_empty((displacement.shape[0], *(max(n - 1, 0) for n in displacement.shape[2:])))


@register_fake("medadv::jacobian_determinant_backward")
def _(grad: Tensor, displacement: Tensor, voxel_size: Sequence[float]) -> Tensor:
    return contiguous_like(displacement)


@register_fake("medadv::folding_penalty")
def _(displacement: Tensor, voxel_size: Sequence[float], threshold: float) -> Tensor:
    return displacement.new_empty(displacement.shape[:1], dtype=torch.float64)


@register_fake("medadv::folding_penalty_backward")
def _(grad: Tensor, displacement: Tensor, voxel_size: Sequence[float], threshold: float) -> Tensor:
    return contiguous_like(displacement)


def _keep(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    ctx.settings = inputs[len(tensors) :]
    ctx.save_for_backward(*tensors)


def _determinant_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (u,) = ctx.saved_tensors
    return torch.ops.medadv.jacobian_determinant_backward(grad, u, *ctx.settings), None


def _penalty_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (u,) = ctx.saved_tensors
    return torch.ops.medadv.folding_penalty_backward(grad, u, *ctx.settings), None, None


def _slopes(u: Tensor, voxel_size: Sequence[float]) -> Tensor:
    """Forward differences of every component along every axis, ``[N, component, axis, *cells]``."""
    axes = range(2, u.dim())
    start = u
    for axis in axes:
        start = start.narrow(axis, 0, max(u.shape[axis] - 1, 0))
    ahead = []
    for axis in axes:
        moved = u
        for other in axes:
            moved = moved.narrow(other, int(other == axis and u.shape[other] > 0), max(u.shape[other] - 1, 0))
        ahead.append((moved - start) / voxel_size[axis - 2])
    return torch.stack(ahead, 2)


def _slopes_adjoint(forces: Tensor, voxel_size: Sequence[float]) -> Tensor:
    """The adjoint of :func:`_slopes`: ``[N, component, axis, *cells] -> [N, component, *S]``."""
    axes = forces.shape[2]

    def placed(values: Tensor, axis: int | None) -> Tensor:
        padding = [p for a in reversed(range(axes)) for p in ((1, 0) if a == axis else (0, 1))]
        return F.pad(values, padding)

    scaled = [forces[:, :, axis] / voxel_size[axis] for axis in range(axes)]
    return sum((placed(f, axis) - placed(f, None) for axis, f in enumerate(scaled)), torch.zeros(()).to(forces))


def _maps(voxel_size: Sequence[float]) -> tuple[Map, Map]:
    return partial(_slopes, voxel_size=voxel_size), partial(_slopes_adjoint, voxel_size=voxel_size)


def _determinant_backward_backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, None]:
    grad, u = ctx.saved_tensors
    (voxel_size,) = ctx.settings
    return *determinant_curvature(v, grad, u, *_maps(voxel_size)), None


def _penalty_backward_backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, None, None]:
    scale, u = ctx.saved_tensors
    voxel_size, threshold = ctx.settings
    return *penalty_curvature(v, scale, u, threshold, *_maps(voxel_size)), None, None


register_autograd("medadv::jacobian_determinant", _determinant_backward, setup_context=_keep)
register_autograd("medadv::jacobian_determinant_backward", _determinant_backward_backward, setup_context=_keep)
register_autograd("medadv::folding_penalty", _penalty_backward, setup_context=_keep)
register_autograd("medadv::folding_penalty_backward", _penalty_backward_backward, setup_context=_keep)
for _op in ("jacobian_determinant", "folding_penalty"):
    register_batching(_op)
    register_batching(f"{_op}_backward")
    register_float32_autocast(_op)
