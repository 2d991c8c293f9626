"""The weights of thin-plate splines, see medadv/_thin_plate.py, as an operator with its adjoint."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medadv import _thin_plate
from medadv.ops._registration import register_batching


@functools.lru_cache(maxsize=64)
def _solution(grid: tuple[int, ...], device: torch.device) -> Tensor:
    """That of medadv._thin_plate, on a device."""
    with torch.inference_mode(False):  # what is cached serves every mode
        return torch.tensor(_thin_plate.solution(grid), device=device)


@torch.library.custom_op("medadv::thin_plate_weights", mutates_args=())
def thin_plate_weights(control: Tensor) -> Tensor:
    """Weights ``[N, D, points + 1 + axes]`` of the splines with the values ``[N, D, (Gz,) Gy, Gx]``.

    float64 for float64 values, else float32. The same for an example whatever batch it is in.
    """
    values = control.double()
    if control.is_cpu:  # as over arrays, to the bit
        weights = torch.from_numpy(_thin_plate.thin_plate_weights(values.detach().numpy()))
    else:
        solution = _solution(tuple(control.shape[2:]), control.device)
        weights = torch.bmm(values.flatten(2), solution.T.expand(len(control), -1, -1))
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
