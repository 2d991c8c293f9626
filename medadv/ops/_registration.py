"""What the operators' registrations share: batching rules, autocast, and checks at the Python door."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from medadv._graph import without_graph
from medadv.ops import _library  # noqa: F401  (loads torch.ops.medadv, which the registrations below refer to)


def check_tensor(op: str, name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a tensor; ValueError if it has a tangent, which would be lost."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {name} must be a torch.Tensor, got {type(value).__name__}")
    # The level first: outside of forward mode nothing has a tangent, and this is asked in every call.
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(value).tangent is not None:
        raise ValueError(f"{op}: {name} has a tangent, but there are no forward-mode derivatives")


def plain_tensor(op: str, name: str, value: Tensor) -> Tensor:
    """As `check_tensor`, for an operator without a gradient: returns the tensor without the graph that made it."""
    check_tensor(op, name, value)
    return without_graph(value)


def register_batching(op: str) -> None:
    """Teach vmap an operator whose tensors all have the example as their first axis: fold the batch into it."""

    @torch.library.register_vmap(f"medadv::{op}")
    def _(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        folded = [
            _front(arg, dim, info.batch_size).flatten(0, 1) if isinstance(arg, Tensor) else arg
            for arg, dim in zip(args, in_dims, strict=True)
        ]
        out = getattr(torch.ops.medadv, op)(*folded)
        if isinstance(out, Tensor):
            return _unfold(out, info.batch_size), 0
        return tuple(_unfold(t, info.batch_size) for t in out), (0,) * len(out)


def _front(tensor: Tensor, dim: int | None, batch: int) -> Tensor:
    return tensor.expand(batch, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _unfold(tensor: Tensor, batch: int) -> Tensor:
    return tensor.reshape(batch, tensor.shape[0] // batch if batch else 0, *tensor.shape[1:])


def register_float32_autocast(op: str) -> None:
    """Under autocast the operator runs in float32: a gain or a spline weight loses too much in half precision."""
    for device in ("cpu", "cuda"):
        torch.library.register_autocast(f"medadv::{op}", device, torch.float32)


def contiguous_like(tensor: Tensor) -> Tensor:
    """An empty contiguous tensor of the same shape, dtype and device, as the kernels return it."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)
