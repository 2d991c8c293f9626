"""Labelled images in memory."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medadv.data.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with one class label each, or with several findings that are each there or not.

    Args:
        images: float32 [N, C, H, W] or [N, C, D, H, W], inside `bounds`.
        labels: int64 [N], each an index into class_names; or int64 [N, K] of 0 and 1, one per finding.
        names: N different names, the relative path or the index of each image.
        class_names: the K classes or findings, in label order.
        bounds: lowest and highest possible value of an image, in image units: (0, 1), or (-1024, 3071) for CT.

    Raises:
        DataError: wrong dtype, shape or range, a value that is not finite, a label without a class, a
            repeated name.

    >>> black = np.zeros((2, 1, 4, 4), np.float32)
    >>> pair = ImageSet(black, np.array([0, 1]), ("a", "b"), ("clear", "opacity"))
    >>> len(pair), pair.sha256[:8]
    (2, '35f84a74')
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", (float(self.bounds[0]), float(self.bounds[1])))
        self._check_images()
        self._check_labels()
        count = len(self.images)
        if len(self.names) != count:
            raise DataError(f"names must hold one name per image ({count}), got {len(self.names)}")
        for kind, names in (("class_names", self.class_names), ("names", self.names)):
            repeated = [name for name, times in Counter(names).items() if times > 1]
            if repeated:
                raise DataError(f"{kind} must be unique, but {repeated[0]!r} is there more than once")

    def _check_images(self) -> None:
        if self.images.dtype != np.float32 or self.images.ndim not in (4, 5):
            raise DataError(
                "images must be float32 [N, C, H, W] or [N, C, D, H, W], "
                f"got {self.images.dtype} {list(self.images.shape)}"
            )
        if not np.isfinite(self.images).all():
            raise DataError("images must be finite, got NaN or infinity")
        low, high = self.bounds
        # The ends as float32 see them, which the images are.
        if self.images.size and not np.float32(low) <= self.images.min() <= self.images.max() <= np.float32(high):
            raise DataError(f"images must lie in [{low:g}, {high:g}], got {self.images.min()} to {self.images.max()}")

    def _check_labels(self) -> None:
        count, classes = len(self.images), len(self.class_names)
        shapes = {1: (count,), 2: (count, classes)}
        if self.labels.dtype != np.int64 or self.labels.shape != shapes.get(self.labels.ndim):
            got = f"{self.labels.dtype} {list(self.labels.shape)}"
            raise DataError(f"labels must be int64 [{count}], or [{count}, {classes}] for findings, got {got}")
        highest = classes - 1 if self.labels.ndim == 1 else 1
        if self.labels.size and not 0 <= self.labels.min() <= self.labels.max() <= highest:
            got = f"{self.labels.min()} to {self.labels.max()}"
            what = f"for {classes} class names" if self.labels.ndim == 1 else "for findings"
            raise DataError(f"labels must lie in [0, {highest}] {what}, got {got}")

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, chosen: NDArray[np.int64] | slice) -> ImageSet:
        """Some of the images.

        Args:
            chosen: their numbers, or a slice.

        Returns:
            A set of them alone.
        """
        names = np.array(self.names, dtype=object)[chosen]
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], names=tuple(names))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the shape, the names, the class names, the bounds, the labels and the pixels (little-endian)."""
        header = {
            "shape": self.images.shape,
            "labels": self.labels.shape,
            "names": self.names,
            "class_names": self.class_names,
            "bounds": self.bounds,
        }
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.labels, "<i8").data)
        digest.update(np.ascontiguousarray(self.images, "<f4").data)
        return digest.hexdigest()
