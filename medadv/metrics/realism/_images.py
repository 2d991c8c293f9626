"""Checks that the metrics of images share."""

from __future__ import annotations

import torch
from torch import Tensor

Bounds = tuple[float, float]


def check_images(images: Tensor, name: str) -> None:
    """Raise unless these are finite float images [N, C, (D,) H, W], at least one of them.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: another shape, or a value that is not finite.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        found = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"{name} must be a floating-point tensor, got {found}.")
    if images.ndim not in (4, 5) or images.numel() == 0:
        raise ValueError(f"{name} must be [N, C, H, W] or [N, C, D, H, W], not empty, got {list(images.shape)}.")
    if not bool(torch.isfinite(images).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity.")


def check_pair(clean: Tensor, changed: Tensor, bounds: Bounds) -> float:
    """Raise unless these are two batches of images of one shape; return the width of the bounds.

    Raises:
        TypeError, ValueError: what `check_images` refuses, different shapes, bounds that do not rise.
    """
    check_images(clean, "clean")
    check_images(changed, "changed")
    if changed.shape != clean.shape:
        raise ValueError(f"changed must have the shape of clean, {list(clean.shape)}, got {list(changed.shape)}.")
    low, high = bounds
    if not high > low:
        raise ValueError(f"bounds must be (low, high) with low below high, got {bounds!r}.")
    return float(high - low)
