"""Rows of one result taken from another."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from torch import Tensor

from medadv.attacks.result import Result

Kind = TypeVar("Kind", bound=Result)


def take_rows(result: Kind, rows: Tensor) -> Kind:
    """Some rows of a result.

    Args:
        result: N rows.
        rows: [M] int64, which of them.

    Returns:
        M rows.
    """
    taken: dict[str, Any] = {}
    for name in (item.name for item in fields(result)):
        values = getattr(result, name)
        taken[name] = {key: values[key][rows] for key in values} if isinstance(values, dict) else values[rows]
    return type(result)(**taken)


def replace_rows(old: Kind, rows: Tensor, new: Kind) -> Kind:
    """A result with some of its rows replaced.

    Args:
        old: N rows.
        rows: [M] int64, which of them.
        new: M rows, of a perturbation with the same parameters.

    Returns:
        N rows.
    """
    merged: dict[str, Any] = {}
    for name in (item.name for item in fields(old)):
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, dict):
            merged[name] = {key: before[key].index_copy(0, rows, after[key]) for key in before}
        else:
            merged[name] = before.index_copy(0, rows, after)
    return type(old)(**merged)
