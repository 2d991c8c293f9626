"""Second derivatives of Jacobian determinants, in plain torch: rarely asked for, and differentiable further that way.

With G = I + du/dx, cof its cofactors and ' the derivative along a cotangent v of the displacement, the determinant
changes by  det' = <cof(G), dv/dx>,  and the gradient r cof(G) to G by  r cof'(G).

What du/dx is (``slopes``, [N, component, axis, ...], with its adjoint) depends on how the displacement is given.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def determinant_curvature(v: Tensor, grad: Tensor, u: Tensor, slopes: Map, adjoint: Map) -> tuple[Tensor, Tensor]:
    """Of ``<v, gradient of <grad, det> to u>``: its gradients to grad and u."""
    dv = slopes(v)
    g = _deformation(slopes(u))
    change = (_cofactors(g) * dv).sum((1, 2))
    return change, adjoint(grad[:, None, None] * _cofactors_along(g, dv))


def penalty_curvature(
    v: Tensor, scale: Tensor, u: Tensor, threshold: float, slopes: Map, adjoint: Map
) -> tuple[Tensor, Tensor]:
    """Of ``<v, gradient of <scale, penalty> to u>``: its gradients to scale and u."""
    dv = slopes(v)
    g = _deformation(slopes(u))
    cofactors = _cofactors(g)
    determinant = (cofactors[:, 0] * g[:, 0]).sum(1)
    change = (cofactors * dv).sum((1, 2))
    weight = 2.0 / max(determinant[0].numel() if len(determinant) else 0, 1)
    r = -weight * (threshold - determinant).clamp(min=0)
    d_scale = (r * change).flatten(1).sum(1, dtype=torch.float64)
    second = weight * (determinant < threshold).to(r.dtype) * change
    forces = second[:, None, None] * cofactors + r[:, None, None] * _cofactors_along(g, dv)
    return d_scale, adjoint(scale.to(forces.dtype).reshape(-1, *[1] * (forces.dim() - 1)) * forces)


def _deformation(slopes: Tensor) -> Tensor:
    axes = slopes.shape[1]
    return slopes + torch.eye(axes).to(slopes).reshape(1, axes, axes, *[1] * axes)


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
