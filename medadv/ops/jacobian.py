"""The Jacobian determinant of a deformation, and the penalty on folding.

A deformation moves the point x to x + u(x). Its Jacobian determinant is the volume that a small cube around x takes
afterwards: 1 where nothing changes, below 1 where tissue shrinks, and not positive where space folds over itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._lattice import per_axis
from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)


def jacobian_determinant(displacement: Tensor, voxel_size: float | Sequence[float] = 1.0) -> Tensor:
    """Compute the Jacobian determinant of ``x -> x + u(x)`` for a dense displacement u.

    ``det(I + du/dx)`` by forward differences, one value per cell between 2 x 2 (x 2) voxels: there is one cell less
    than voxels along every axis, because the last voxel has no neighbour to form a difference with.

    Args:
        displacement: ``[N, 2, H, W]`` or ``[N, 3, D, H, W]``, components in the order of the axes; float16, bfloat16,
            float32 or float64 (half types are computed in float32).
        voxel_size: Length of a voxel in the unit of the displacement, one number or one per axis; 1 for a
            displacement in voxels.

    Returns:
        ``[N, (D - 1,) H - 1, W - 1]``, of the displacement's dtype. Differentiable to any order.

    Raises:
        TypeError: ``displacement`` is not a tensor.
        ValueError: As many components as axes are expected, and positive voxel sizes.

    Example:
        >>> import torch
        >>> grow = 0.5 * torch.arange(4.0).expand(1, 1, 3, 4)  # stretches the width by a half
        >>> jacobian_determinant(torch.cat([torch.zeros_like(grow), grow], 1))[0, 0]
        tensor([1.5000, 1.5000, 1.5000])
    """
    check_tensor("jacobian_determinant", "displacement", displacement)
    out: Tensor = torch.ops.medadv.jacobian_determinant(displacement, per_axis(voxel_size, displacement.dim() - 2))
    return out


def folding_penalty(displacement: Tensor, voxel_size: float | Sequence[float] = 1.0, threshold: float = 0.01) -> Tensor:
    """Penalise a deformation where it folds, or nearly does: the mean of ``max(threshold - det, 0)^2``.

    The determinants are those of :func:`jacobian_determinant`; none is stored.

    Args:
        displacement: ``[N, 2, H, W]`` or ``[N, 3, D, H, W]``, as for :func:`jacobian_determinant`.
        voxel_size: Length of a voxel in the unit of the displacement, one number or one per axis.
        threshold: Determinants below it are penalised.

    Returns:
        ``[N]``, means over the cells of each example, 0 where there is none; float64 for a float64 displacement, else
        float32. Differentiable to any order; the same bits for any number of threads.

    Raises:
        TypeError: ``displacement`` is not a tensor.
        ValueError: As many components as axes are expected, positive voxel sizes, and a finite threshold.

    Example:
        >>> import torch
        >>> mirror = -2 * torch.arange(4.0).expand(1, 1, 3, 4)  # turns the width around: determinant -1
        >>> folding_penalty(torch.cat([torch.zeros_like(mirror), mirror], 1), threshold=0.0)
        tensor([1.])
    """
    check_tensor("folding_penalty", "displacement", displacement)
    lengths = per_axis(voxel_size, displacement.dim() - 2)
    penalty: Tensor = torch.ops.medadv.folding_penalty(displacement, lengths, float(threshold))
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


# Second derivatives, in plain torch: rarely asked for, and differentiable further that way. With G = I + du/dx, cof
# its cofactors and ' the derivative along a cotangent v, the determinant changes by
#   det' = <cof(G), dv/dx>,    and the gradient r cof(G) to G by    r cof'(G).


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

    per_axis = [forces[:, :, axis] / voxel_size[axis] for axis in range(axes)]
    return sum((placed(f, axis) - placed(f, None) for axis, f in enumerate(per_axis)), torch.zeros(()).to(forces))


def _identity(slopes: Tensor) -> Tensor:
    axes = slopes.shape[1]
    return torch.eye(axes).to(slopes).reshape(1, axes, axes, *[1] * axes)


def _cofactors(g: Tensor) -> Tensor:
    if g.shape[1] == 2:
        (a, b), (c, d) = (g[:, row].unbind(1) for row in range(2))
        return torch.stack([torch.stack([d, -c], 1), torch.stack([-b, a], 1)], 1)
    return torch.stack([torch.linalg.cross(g[:, (row + 1) % 3], g[:, (row + 2) % 3], dim=1) for row in range(3)], 1)


def _cofactors_along(g: Tensor, w: Tensor) -> Tensor:
    """The derivative of the cofactors of g along w."""
    if g.shape[1] == 2:
        return _cofactors(w)
    rows = []
    for row in range(3):
        a, b = (row + 1) % 3, (row + 2) % 3
        rows.append(torch.linalg.cross(w[:, a], g[:, b], dim=1) + torch.linalg.cross(g[:, a], w[:, b], dim=1))
    return torch.stack(rows, 1)


def _determinant_backward_backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, None]:
    grad, u = ctx.saved_tensors
    (voxel_size,) = ctx.settings
    du, dv = _slopes(u, voxel_size), _slopes(v, voxel_size)
    g = du + _identity(du)
    change = (_cofactors(g) * dv).sum((1, 2))
    return change, _slopes_adjoint(grad[:, None, None] * _cofactors_along(g, dv), voxel_size), None


def _penalty_backward_backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, None, None]:
    """Of ``scale * J^T r`` with r the derivative of the penalty by the determinants."""
    scale, u = ctx.saved_tensors
    voxel_size, threshold = ctx.settings
    du, dv = _slopes(u, voxel_size), _slopes(v, voxel_size)
    g = du + _identity(du)
    cofactors = _cofactors(g)
    determinant = (cofactors[:, 0] * g[:, 0]).sum(1)
    change = (cofactors * dv).sum((1, 2))
    weight = 2.0 / max(determinant[0].numel() if len(determinant) else 0, 1)
    r = -weight * (threshold - determinant).clamp(min=0)
    d_scale = (r * change).flatten(1).sum(1, dtype=torch.float64)
    second = weight * (determinant < threshold).to(r.dtype) * change
    forces = second[:, None, None] * cofactors + r[:, None, None] * _cofactors_along(g, dv)
    scaled = scale.to(forces.dtype).reshape(-1, *[1] * (forces.dim() - 1)) * forces
    return d_scale, _slopes_adjoint(scaled, voxel_size), None, None


register_autograd("medadv::jacobian_determinant", _determinant_backward, setup_context=_keep)
register_autograd("medadv::jacobian_determinant_backward", _determinant_backward_backward, setup_context=_keep)
register_autograd("medadv::folding_penalty", _penalty_backward, setup_context=_keep)
register_autograd("medadv::folding_penalty_backward", _penalty_backward_backward, setup_context=_keep)
for _op in ("jacobian_determinant", "folding_penalty"):
    register_batching(_op)
    register_batching(f"{_op}_backward")
    register_float32_autocast(_op)
