"""How rough a field is: membrane energy, bending energy and total variation.

One function per energy serves both forms of a field. A B-spline lattice comes with the ``size`` of the image that it
spans, and its energy is the exact integral. A dense field comes without, and finite differences take the place of
derivatives. Both estimate the same integral, so a weight found for one form holds for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._lattice import cell_lengths, per_axis
from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)


def bending_energy(
    field: Tensor, size: Sequence[int] | None = None, voxel_size: float | Sequence[float] = 1.0
) -> Tensor:
    """Integrate the squared second derivatives of a field over the image: how far it is from being a plane.

    ``E = integral of the sum over axes p, q of (d2 B / dp dq)^2`` (Rueckert et al. 1999, without its division by
    the volume).

    With ``size``, ``field`` is a B-spline lattice and E is exact, by the Gram matrices of the basis: no dense field
    is formed. Without, it is a dense field and E is the volume of a voxel times the sum of

    - ``((u[i+1] - 2 u[i] + u[i-1]) / h^2)^2`` for every axis, at voxels with both neighbours, and
    - ``2 ((u[i+1,j+1] - u[i+1,j] - u[i,j+1] + u[i,j]) / (h_i h_j))^2`` for every pair of axes, in every 2 x 2 square.

    Args:
        field: ``[N, K, (Gz,) Gy, Gx]`` control points, at least 4 along every axis, computed in float64; or
            ``[N, K, (D,) H, W]`` voxels. Half types are computed in float32.
        size: Of a lattice: ``[H, W]`` or ``[D, H, W]``, voxels of the image that it spans, at least 2 along every
            axis. None for a dense field.
        voxel_size: Length of a voxel, one number or one per axis; derivatives are taken per this unit.

    Returns:
        ``[N]``, summed over the K channels, never negative; float64 for a float64 field, else float32. Zero for
        an affine field. Differentiable to any order; the same bits for any number of threads.

    Raises:
        TypeError: ``field`` is not a tensor, ``size`` not whole numbers, ``voxel_size`` no number nor one per axis.
        ValueError: A wrong number of axes, an axis of a lattice's image of one voxel, a voxel size that is not
            positive, or with which the factors of derivatives overflow.

    Example:
        >>> import torch
        >>> parabola = torch.arange(5.0).sub(2).square().expand(1, 1, 4, 5)  # u^2, and 2 cells along x
        >>> bending_energy(parabola, (2, 3))  # (d2 u^2 / dx2)^2 = 4 over an extent of 1 by 2
        tensor([8.])
        >>> bending_energy(parabola)  # as a dense field: 4 in three columns of four voxels
        tensor([48.])
    """
    if size is None:
        return _dense("bending_energy", "dense_bending_energy", field, voxel_size)
    return _lattice("bending_energy", field, size, voxel_size)


def membrane_energy(
    field: Tensor, size: Sequence[int] | None = None, voxel_size: float | Sequence[float] = 1.0
) -> Tensor:
    """Integrate the squared gradient of a field over the image: how far it is from being constant.

    ``E = integral of the sum over axes p of (dB / dp)^2``, also called diffusion energy.

    With ``size``, ``field`` is a B-spline lattice and E is exact. Without, it is a dense field and E is the volume of
    a voxel times the sum of ``((u[i+1] - u[i]) / h)^2`` over every axis and all neighbours along it. Forward and not
    central differences: those would not see stripes of one voxel.

    Args:
        field: ``[N, K, (Gz,) Gy, Gx]`` control points, at least 4 along every axis, computed in float64; or
            ``[N, K, (D,) H, W]`` voxels. Half types are computed in float32.
        size: Of a lattice: ``[H, W]`` or ``[D, H, W]``, voxels of the image that it spans, at least 2 along every
            axis. None for a dense field.
        voxel_size: Length of a voxel, one number or one per axis; derivatives are taken per this unit.

    Returns:
        ``[N]``, summed over the K channels, never negative; float64 for a float64 field, else float32.
        Differentiable to any order; the same bits for any number of threads.

    Raises:
        TypeError: ``field`` is not a tensor, ``size`` not whole numbers, ``voxel_size`` no number nor one per axis.
        ValueError: A wrong number of axes, an axis of a lattice's image of one voxel, a voxel size that is not
            positive, or with which the factors of derivatives overflow.

    Example:
        >>> import torch
        >>> ramp = torch.arange(5.0).expand(1, 1, 4, 5)
        >>> membrane_energy(ramp, (2, 3))  # a slope of 1 per cell, which is a voxel here, over an extent of 1 by 2
        tensor([2.])
        >>> membrane_energy(ramp)  # as a dense field: 4 differences in each of 4 rows
        tensor([16.])
    """
    if size is None:
        return _dense("membrane_energy", "dense_membrane_energy", field, voxel_size)
    return _lattice("membrane_energy", field, size, voxel_size)


def total_variation(field: Tensor, voxel_size: float | Sequence[float] = 1.0) -> Tensor:
    """Integrate the absolute derivatives of a dense field over the image: how much it goes up and down.

    ``E = volume of a voxel times the sum of |u[i+1] - u[i]| / h`` over every axis and all neighbours along it (the
    anisotropic form). There is none for a lattice: the integral of an absolute value has no closed form where the
    derivative changes its sign inside a cell. Evaluate the lattice with :func:`medadv.ops.spline_field` first.

    Args:
        field: ``[N, K, (D,) H, W]`` voxels; float16, bfloat16, float32 or float64 (half types are computed in
            float32).
        voxel_size: Length of a voxel, one number or one per axis.

    Returns:
        ``[N]``, summed over the K channels, never negative; float64 for a float64 field, else float32. Where two
        neighbours are equal the derivative is taken as 0; second derivatives are 0. The same bits for any number of
        threads.

    Raises:
        TypeError: ``field`` is not a tensor, ``voxel_size`` no number nor one per axis.
        ValueError: A wrong number of axes, a voxel size that is not positive, or with which the factors of
            derivatives overflow.

    Example:
        >>> import torch
        >>> stripes = torch.tensor([0.0, 1.0, 0.0, 1.0]).expand(1, 1, 3, 4)
        >>> total_variation(stripes)  # 3 steps of 1 in each of 3 rows
        tensor([9.])
    """
    return _dense("total_variation", "dense_total_variation", field, voxel_size)


def _dense(name: str, op: str, field: Tensor, voxel_size: float | Sequence[float]) -> Tensor:
    check_tensor(name, "field", field)
    energy = getattr(torch.ops.medadv, op)(field, per_axis(name, "voxel_size", voxel_size, field.dim() - 2))
    return _total(energy, field)


def _lattice(name: str, lattice: Tensor, size: Sequence[int], voxel_size: float | Sequence[float]) -> Tensor:
    check_tensor(name, "field", lattice)
    spacing = cell_lengths(name, lattice.shape[2:], size, voxel_size)
    energy, _ = getattr(torch.ops.medadv, name)(lattice, spacing)
    return _total(energy, lattice)


def _total(energy: Tensor, field: Tensor) -> Tensor:
    total = energy.sum(1)
    return total if field.dtype == torch.float64 else total.float()


# Of a lattice, E = 1/2 c^T H c and gradient = H c, with H symmetric: the operator applied to a cotangent is its own
# transpose. Both come from one call, which costs next to nothing.


def _scaled(grad_energy: Tensor, gradient: Tensor) -> Tensor:
    scale = grad_energy.reshape(*grad_energy.shape, *[1] * (gradient.dim() - grad_energy.dim()))
    return scale.to(gradient.dtype) * gradient


def _register_lattice(op: str) -> None:
    operator = getattr(torch.ops.medadv, op)

    @register_fake(f"medadv::{op}")
    def _(lattice: Tensor, spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
        return lattice.new_empty(lattice.shape[:2], dtype=torch.float64), contiguous_like(lattice)

    def keep(ctx: Any, inputs: Sequence[Any], output: tuple[Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)
        ctx.spacing = inputs[1]
        ctx.save_for_backward(output[1])

    def backward(ctx: Any, grad_energy: Tensor | None, grad_gradient: Tensor | None) -> tuple[Tensor | None, None]:
        (gradient,) = ctx.saved_tensors
        total = None if grad_energy is None else _scaled(grad_energy, gradient)
        if grad_gradient is not None:
            curvature = operator(grad_gradient, ctx.spacing)[1]
            total = curvature if total is None else total + curvature
        return total, None

    register_autograd(f"medadv::{op}", backward, setup_context=keep)
    register_batching(op)
    register_float32_autocast(op)


# Of a dense field, the gradient is computed when it is asked for, already multiplied by what comes in: a gradient
# kept from the forward pass would be written, held, read and written again, which costs more than reading the field
# twice.


def _register_dense(op: str, *, quadratic: bool) -> None:
    gradient_of = getattr(torch.ops.medadv, f"{op}_backward")

    @register_fake(f"medadv::{op}")
    def _(field: Tensor, voxel_size: Sequence[float]) -> Tensor:
        return field.new_empty(field.shape[:2], dtype=torch.float64)

    @register_fake(f"medadv::{op}_backward")
    def _(grad: Tensor, field: Tensor, voxel_size: Sequence[float]) -> Tensor:
        return contiguous_like(field)

    def keep(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
        *tensors, ctx.voxel_size = inputs
        ctx.save_for_backward(*tensors)

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (field,) = ctx.saved_tensors
        return gradient_of(grad, field, ctx.voxel_size), None

    def backward_backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """Of grad times H u, with H symmetric; of a total variation, H u is constant almost everywhere."""
        grad, field = ctx.saved_tensors
        slope = gradient_of(torch.ones_like(grad), field, ctx.voxel_size)
        d_grad = (v * slope).flatten(2).sum(2, dtype=torch.float64)
        return d_grad, gradient_of(grad, v, ctx.voxel_size) if quadratic else None, None

    register_autograd(f"medadv::{op}", backward, setup_context=keep)
    register_autograd(f"medadv::{op}_backward", backward_backward, setup_context=keep)
    register_batching(op)
    register_batching(f"{op}_backward")
    register_float32_autocast(op)


for _op in ("bending_energy", "membrane_energy"):
    _register_lattice(_op)
_register_dense("dense_bending_energy", quadratic=True)
_register_dense("dense_membrane_energy", quadratic=True)
_register_dense("dense_total_variation", quadratic=False)
