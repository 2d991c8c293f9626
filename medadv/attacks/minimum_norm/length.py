"""The length of a change, in the norms that attacks minimise."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from medadv import ops
from medadv._words import RowNorm


def length(change: Tensor, norm: str, origin: Tensor | None = None) -> Tensor:
    """Length of each row over all its entries, summed in float64: it does not depend on the other rows.

    Args:
        change: [N, ...].
        norm: "linf", "l2", "l1" or "l0" (how many entries are not 0).
        origin: [N, ...], what the rows are measured from; None: zeros.

    Returns:
        [N] float64.

    >>> [float(length(torch.tensor([[3.0, -4.0]]), norm)) for norm in ("linf", "l2", "l1", "l0")]
    [4.0, 5.0, 7.0, 2.0]
    """
    if norm == "l0":
        moved = change if origin is None else change - origin
        return moved.flatten(1).sign().abs_().sum(dim=1, dtype=torch.float64)
    return ops.row_lengths(change, cast(RowNorm, norm), origin)


def dual_length(change: Tensor, norm: str) -> Tensor:
    """Length of each row in the dual norm: by how much a linear function with these weights rises per unit of `norm`.

    Args:
        change: [N, ...].
        norm: "linf", "l2" or "l1".

    Returns:
        [N] float64.

    >>> float(dual_length(torch.tensor([[3.0, -4.0]]), "linf"))
    7.0
    """
    return length(change, {"linf": "l1", "l2": "l2", "l1": "linf"}[norm])


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """One number per row, shaped to be multiplied with rows.

    Args:
        values: [N].
        like: [N, ...].

    Returns:
        [N, 1, ..., 1] of the type of `like`.

    >>> per_row(torch.ones(2), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def positive(values: Tensor) -> Tensor:
    """Lengths to divide by: 1 where they are 0.

    Args:
        values: any shape, at least 0.

    Returns:
        The same shape.

    >>> positive(torch.tensor([2.0, 0.0])).tolist()
    [2.0, 1.0]
    """
    return values.masked_fill(values <= 0, 1.0)
