"""Values of one tensor with the gradient of another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def straight_through(values: Tensor, followed: Tensor) -> Tensor:
    """The first tensor, with its gradient going to the second.

    Args:
        values: [...], its own gradient is not followed.
        followed: the same shape.

    Returns:
        `values`, bit by bit, as a new tensor.

    >>> x = torch.tensor([0.4, 0.6], requires_grad=True)
    >>> straight_through(x.round(), 3 * x).sum().backward()
    >>> x.grad
    tensor([3., 3.])
    """
    result: Tensor = _ValuesOf.apply(values, followed)
    return result


class _ValuesOf(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, followed: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient
