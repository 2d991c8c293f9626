"""Labelled images in memory."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medadv.data.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in [0, 1] with one class label each.

    Args:
        images: float32 [N, C, H, W] in [0, 1].
        labels: int64 [N], each an index into class_names.
        names: N different names, the relative path or the index of each image.
        class_names: the K classes, in label order.

    Raises:
        DataError: wrong dtype, shape or range, a value that is not finite, a label without a class, a
            repeated name.

    >>> black = np.zeros((2, 1, 4, 4), np.float32)
    >>> pair = ImageSet(black, np.array([0, 1]), ("a", "b"), ("clear", "opacity"))
    >>> len(pair), pair.sha256[:8]
    (2, '28f8fe24')
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        self._check_images()
        count, classes = len(self.images), len(self.class_names)
        if self.labels.dtype != np.int64 or self.labels.shape != (count,):
            got = f"{self.labels.dtype} {list(self.labels.shape)}"
            raise DataError(f"labels must be int64 [{count}], got {got}")
        if count and not 0 <= self.labels.min() <= self.labels.max() < classes:
            got = f"{self.labels.min()} to {self.labels.max()}"
            raise DataError(f"labels must lie in [0, {classes - 1}] for {classes} class names, got {got}")
        if len(self.names) != count:
            raise DataError(f"names must hold one name per image ({count}), got {len(self.names)}")
        for kind, names in (("names", self.names), ("class_names", self.class_names)):
            repeated = [name for name, times in Counter(names).items() if times > 1]
            if repeated:
                raise DataError(f"{kind} must be unique, but {repeated[0]!r} is there more than once")

    def _check_images(self) -> None:
        if self.images.dtype != np.float32 or self.images.ndim != 4:
            raise DataError(f"images must be float32 [N, C, H, W], got {self.images.dtype} {list(self.images.shape)}")
        if not np.isfinite(self.images).all():
            raise DataError("images must be finite, got NaN or infinity")
        if self.images.size and not 0.0 <= self.images.min() <= self.images.max() <= 1.0:
            raise DataError(f"images must lie in [0, 1], got {self.images.min()} to {self.images.max()}")

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the shape, the names, the class names, the labels and the pixels (little-endian)."""
        header = {"shape": self.images.shape, "names": self.names, "class_names": self.class_names}
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.labels, "<i8").data)
        digest.update(np.ascontiguousarray(self.images, "<f4").data)
        return digest.hexdigest()
