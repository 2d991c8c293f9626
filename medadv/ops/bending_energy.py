"""The bending energy of a B-spline lattice: how far its field is from being a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)


def bending_energy(lattice: Tensor, size: Sequence[int], voxel_size: float | Sequence[float] = 1.0) -> Tensor:
    """Integrate the squared second derivatives of a B-spline field over the image, exactly.

    ``E = integral of the sum over axes p, q of (d2 B / dp dq)^2`` (Rueckert et al. 1999, without its division by
    the volume), by the Gram matrices of the basis: no dense field is formed, and the gradient comes from the
    same pass.

    Args:
        lattice: ``[N, K, (Gz,) Gy, Gx]`` control points, at least 4 along every axis; computed in float64.
        size: ``[H, W]`` or ``[D, H, W]``, voxels of the image that the lattice spans, at least 2 along every axis.
        voxel_size: Length of a voxel, one number or one per axis; derivatives are taken per this unit.

    Returns:
        ``[N]``, summed over the K channels, never negative; float64 for a float64 lattice, else float32. Zero for
        an affine field. Differentiable to any order.

    Raises:
        TypeError: ``lattice`` is not a tensor.
        ValueError: A wrong number of axes, an axis of one voxel, a voxel size that is not positive.

    Example:
        >>> import torch
        >>> parabola = torch.arange(5.0).sub(2).square().expand(1, 1, 4, 5)  # u^2, and 2 cells along x
        >>> bending_energy(parabola, (2, 3))  # (d2 u^2 / dx2)^2 = 4 over an extent of 1 by 2
        tensor([8.])
    """
    check_tensor("bending_energy", "lattice", lattice)
    spacing = _cell_lengths(lattice.shape[2:], size, voxel_size)
    energy, _ = torch.ops.medadv.bending_energy(lattice, spacing)
    total: Tensor = energy.sum(1)
    return total if lattice.dtype == torch.float64 else total.float()


def _cell_lengths(knots: Sequence[int], size: Sequence[int], voxel_size: float | Sequence[float]) -> list[float]:
    lengths = [float(voxel_size)] * len(size) if isinstance(voxel_size, (int, float)) else list(voxel_size)
    if not len(knots) == len(size) == len(lengths):
        raise ValueError(
            "bending_energy: size and voxel_size must have one entry per axis of the lattice "
            f"({len(knots)}), got {tuple(size)} and {voxel_size}"
        )
    if any(n < 2 for n in size):
        raise ValueError(f"bending_energy: size must be at least 2 along every axis, got {tuple(size)}")
    if not all(0 < v < float("inf") for v in lengths):
        raise ValueError(f"bending_energy: voxel_size must be positive and finite, got {voxel_size}")
    if any(k < 4 for k in knots):
        raise ValueError(
            f"bending_energy: lattice must have at least 4 control points along every axis, got {tuple(knots)}"
        )
    return [v * (n - 1) / (k - 3) for v, n, k in zip(lengths, size, knots, strict=True)]


@register_fake("medadv::bending_energy")
def _(lattice: Tensor, spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
    return lattice.new_empty(lattice.shape[:2], dtype=torch.float64), contiguous_like(lattice)


# E = 1/2 c^T H c and gradient = H c, with H symmetric: the operator applied to a cotangent is its own transpose.


def _keep(ctx: Any, inputs: Sequence[Any], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.spacing = inputs[1]
    ctx.save_for_backward(output[1])


def _backward(ctx: Any, grad_energy: Tensor | None, grad_gradient: Tensor | None) -> tuple[Tensor | None, None]:
    (gradient,) = ctx.saved_tensors
    total = None
    if grad_energy is not None:
        scale = grad_energy.reshape(*grad_energy.shape, *[1] * (gradient.dim() - 2))
        total = scale.to(gradient.dtype) * gradient
    if grad_gradient is not None:
        _, curvature = torch.ops.medadv.bending_energy(grad_gradient, ctx.spacing)
        total = curvature if total is None else total + curvature
    return total, None


register_autograd("medadv::bending_energy", _backward, setup_context=_keep)
register_batching("bending_energy")
register_float32_autocast("bending_energy")
