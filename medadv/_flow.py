"""Checks of displacements that are composed, and of velocities whose flow is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Field(Protocol):
    """A tensor or an array."""

    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def dtype(self) -> Any: ...


def check_displacement(op: str, name: str, field: Field, dtypes: Sequence[Any]) -> None:
    """Raise ValueError unless a field has one component per axis, and one of the dtypes.

    Example:
        >>> import numpy as np
        >>> check_displacement("compose", "outer", np.zeros((1, 2, 3, 3), int), [np.float32, np.float64])
        Traceback (most recent call last):
        ValueError: compose: outer must be float32 or float64, got int64
    """
    axes = len(field.shape) - 2
    if axes not in (2, 3) or field.shape[1] != axes:
        raise ValueError(f"{op}: {name} must be [N, 2, H, W] or [N, 3, D, H, W], got {list(field.shape)}")
    if field.dtype not in dtypes:
        *names, last = (getattr(dtype, "__name__", str(dtype)).removeprefix("torch.") for dtype in dtypes)
        raise ValueError(f"{op}: {name} must be {', '.join(names)} or {last}, got {field.dtype}")


def check_pair(outer: Field, inner: Field) -> None:
    """Raise ValueError unless two displacements can be composed."""
    if outer.shape != inner.shape:
        raise ValueError(f"compose: inner must have the shape of outer, {list(outer.shape)}, got {list(inner.shape)}")
    if outer.dtype != inner.dtype:
        raise ValueError(f"compose: inner must have the dtype of outer, {outer.dtype}, got {inner.dtype}")


def check_steps(steps: object) -> None:
    """Raise TypeError or ValueError unless a displacement can be composed with itself so often."""
    if not isinstance(steps, int) or isinstance(steps, bool):
        raise TypeError(f"exponentiate: steps must be an integer, got {type(steps).__name__}")
    if not 0 <= steps <= 30:
        raise ValueError(f"exponentiate: steps must be 0 to 30, got {steps}")
