"""The lengths of the rows of a tensor, and rows of length 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import register_fake

from medadv._words import RowNorm, row_norm
from medadv.ops._registration import contiguous_like, plain_tensor, register_batching


def row_lengths(values: Tensor, norm: RowNorm = "l2", origin: Tensor | None = None) -> Tensor:
    """The length of every row, or of its difference from another, in float64.

    Differences are taken and terms are summed in float64, in an order that depends on the row alone: the same bits in
    any batch and for any number of threads. One pass without a copy, where torch makes one in float64. For ``"l2"``
    squares are summed as they are: of float64, entries below 1.5e-154 lose digits or count as zeros, and a row beyond
    1.3e154 is infinitely long.

    Args:
        values: ``[N, ...]``; float16, bfloat16, float32 or float64.
        norm: ``"linf"`` (the largest size), ``"l1"`` or ``"l2"``, over all axes but the first.
        origin: The same shape, dtype and device: what rows are measured from; None: zeros.

    Returns:
        ``[N]`` float64, without gradient; NaN where a row has one.

    Raises:
        TypeError: An argument is not a tensor.
        ValueError: Another shape, dtype or device, an unknown norm.

    Example:
        >>> row_lengths(torch.tensor([[3.0, -4.0], [0.0, 2.0]]))
        tensor([5., 2.], dtype=torch.float64)
    """
    rows = plain_tensor("row_lengths", "values", values)
    start = None if origin is None else plain_tensor("row_lengths", "origin", origin)
    lengths: Tensor = torch.ops.medadv.row_lengths(rows, start, row_norm("row_lengths", norm))
    return lengths


def unit_rows(values: Tensor, norm: RowNorm = "l2") -> Tensor:
    """Every row divided by its length as `row_lengths` finds it; a row stays where that is less than 2.3e-308.

    Args:
        values: ``[N, ...]``; float16, bfloat16, float32 or float64.
        norm: ``"linf"`` (the largest size), ``"l1"`` or ``"l2"``, over all axes but the first.

    Returns:
        ``[N, ...]``, contiguous, without gradient; zeros for a row of numbers that is infinitely long.

    Raises:
        TypeError: ``values`` is not a tensor.
        ValueError: Another dtype, an unknown norm.

    Example:
        >>> unit_rows(torch.tensor([[3.0, -4.0], [0.0, 0.0]]))
        tensor([[ 0.6000, -0.8000],
                [ 0.0000,  0.0000]])
    """
    rows = plain_tensor("unit_rows", "values", values)
    units: Tensor = torch.ops.medadv.unit_rows(rows, row_norm("unit_rows", norm))
    return units


@register_fake("medadv::row_lengths")
def _(values: Tensor, origin: Tensor | None, norm: int) -> Tensor:
    return values.new_empty(values.shape[0], dtype=torch.float64)


@register_fake("medadv::unit_rows")
def _(values: Tensor, norm: int) -> Tensor:
    return contiguous_like(values)


for _op in ("row_lengths", "unit_rows"):
    register_batching(_op)
