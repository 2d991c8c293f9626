"""Weights of thin-plate splines through the points of a regular grid, see csrc/core/thin_plate_spline.h.

The linear system depends on the shape of the grid alone: it is solved once, in float64, and the weights of a spline are
then a small matrix product of the values at its control points.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medadv.ops._registration import register_batching


@functools.lru_cache(maxsize=64)
def _solution(grid: tuple[int, ...], device: torch.device) -> Tensor:
    """``[points + 1 + axes, points]`` in float64: weights of the spline through given values at the points."""
    with torch.inference_mode(False):  # what is cached serves every mode
        axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in grid]
        points = torch.cartesian_prod(*axes)
        square = (points[:, None] - points[None]).square().sum(-1)
        kernel = torch.xlogy(square, square) if len(grid) == 2 else square.sqrt()
        affine = torch.cat([torch.ones(len(points), 1, dtype=torch.float64), points], 1)
        size = len(grid) + 1
        system = torch.cat(
            [torch.cat([kernel, affine], 1), torch.cat([affine.T, torch.zeros(size, size, dtype=torch.float64)], 1)]
        )
        values = torch.eye(len(system), len(points), dtype=torch.float64)
        solution: Tensor = torch.linalg.solve(system, values)
        return solution.to(device)


@torch.library.custom_op("medadv::thin_plate_weights", mutates_args=())
def thin_plate_weights(control: Tensor) -> Tensor:
    """Weights ``[N, D, points + 1 + axes]`` of the splines with the values ``[N, D, (Gz,) Gy, Gx]``.

    float64 for float64 values, else float32. The same for an example whatever batch it is in.
    """
    solution = _solution(tuple(control.shape[2:]), control.device)
    weights = torch.bmm(control.flatten(2).double(), solution.T.expand(len(control), -1, -1))
    return weights.to(_arithmetic(control))


@torch.library.custom_op("medadv::thin_plate_weights_adjoint", mutates_args=())
def _thin_plate_weights_adjoint(grad: Tensor, grid: Sequence[int]) -> Tensor:
    solution = _solution(tuple(grid), grad.device)
    values: Tensor = torch.bmm(grad.double(), solution.expand(len(grad), -1, -1)).to(grad.dtype)
    return values.reshape(*grad.shape[:2], *grid)


def _arithmetic(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


@thin_plate_weights.register_fake
def _(control: Tensor) -> Tensor:
    rows = math.prod(control.shape[2:]) + control.dim() - 1
    return control.new_empty((*control.shape[:2], rows), dtype=_arithmetic(control))


@_thin_plate_weights_adjoint.register_fake
def _(grad: Tensor, grid: Sequence[int]) -> Tensor:
    return grad.new_empty((*grad.shape[:2], *grid))


# A linear map and its adjoint, each the other's gradient.


def _keep_grid(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.grid, ctx.dtype = list(inputs[0].shape[2:]), inputs[0].dtype


def _weights_backward(ctx: Any, grad: Tensor) -> Tensor:
    values: Tensor = _thin_plate_weights_adjoint(grad, ctx.grid)
    return values.to(ctx.dtype)


def _adjoint_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return thin_plate_weights(grad), None


thin_plate_weights.register_autograd(_weights_backward, setup_context=_keep_grid)
_thin_plate_weights_adjoint.register_autograd(_adjoint_backward, setup_context=lambda ctx, inputs, output: None)
for _op in ("thin_plate_weights", "thin_plate_weights_adjoint"):
    register_batching(_op)
