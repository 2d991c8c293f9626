"""Tensors without the graph that made them."""

from __future__ import annotations

from torch import Tensor


def without_graph(values: Tensor) -> Tensor:
    """These values, of which autograd knows no past; no new tensor where there is no graph, as in most calls.

    Args:
        values: [...].

    >>> import torch
    >>> plain = torch.ones(2)
    >>> without_graph(plain) is plain, without_graph(plain.requires_grad_()).requires_grad
    (True, False)
    """
    return values.detach() if values.requires_grad else values
