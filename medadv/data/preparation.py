"""How values on disk become images: range, size, channels and orientation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv.data.conform import conform
from medadv.data.errors import DataError

Bounds = tuple[float, float]

_LONGEST = 8192  # voxels along an axis
_SIDES = ("RL", "AP", "SI")


@dataclass(frozen=True)
class Preparation:
    """How values on disk become images.

    Args:
        size: (H, W) of images or (D, H, W) of volumes in voxels, to which they are stretched, linear and antialiased.
            None: all must be of one size.
        channels: 1 (grey) or 3 (colour; volumes only repeat theirs). None: all must have the same.
        window: (center, width), in units of the file after rescaling (HU for CT), that becomes [0, 1]; beyond it,
            values are cut off. For DICOM it replaces the window in the file.
        bounds: (low, high), lowest and highest value of an image, which then keeps the units of the file. None: images
            are in [0, 1].
        clip: whether values beyond the bounds become their ends, or are refused.
        orientation: sides to which the three axes of NIfTI volumes lead, such as "RAS". None: as they are stored.

    Raises:
        ValueError: an argument is not what it must be.

    >>> Preparation(bounds=(-1024, 3071)).range
    (-1024, 3071)
    """

    size: tuple[int, ...] | None = None
    channels: int | None = None
    window: tuple[float, float] | None = None
    bounds: Bounds | None = None
    clip: bool = False
    orientation: str | None = None

    def __post_init__(self) -> None:
        size, window, bounds = self.size, self.window, self.bounds
        if size is not None and not (len(size) in (2, 3) and all(_is_length(n) for n in size)):
            raise ValueError(
                f"size must be two or three whole numbers, (height, width) or (depth, height, width), from 1 to "
                f"{_LONGEST}, got {size}"
            )
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")
        if window is not None and not (_are_finite(window) and window[1] > 0):
            raise ValueError(f"window must be (center, width) with a width above 0, got {window}")
        if bounds is not None and not (_are_finite(bounds) and bounds[0] < bounds[1]):
            raise ValueError(f"bounds must be (low, high) with low below high, got {bounds}")
        if window is not None and bounds is not None:
            raise ValueError("window and bounds must not both be given: a window makes images in [0, 1]")
        if self.clip and bounds is None:
            raise ValueError("clip must come with the bounds (--bounds) to clip to")
        if self.orientation is not None and not _is_orientation(self.orientation):
            raise ValueError(
                "orientation must name a side for each axis, R or L, A or P, S or I, such as RAS, "
                f"got {self.orientation!r}"
            )

    @property
    def range(self) -> Bounds:
        """Lowest and highest possible value of the images."""
        return (0.0, 1.0) if self.bounds is None else self.bounds

    def of_units(self, source: Path | str, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values in units of the file as an image: windowed, or inside the bounds.

        Args:
            source: where they come from, for the sentence of an error.
            values: [C, *S] numbers.

        Returns:
            float32 [C, *S] inside `range`.

        Raises:
            DataError: values that are not finite, or outside the range.
        """
        if not np.isfinite(values).all():
            raise DataError(f"{source}: values that are NaN or infinite")
        if self.window is not None:
            center, width = self.window
            return np.clip((values - center) / width + 0.5, 0.0, 1.0).astype(np.float32)
        low, high = (np.float32(end) for end in self.range)
        image = values.astype(np.float32)
        if self.clip:
            return np.clip(image, low, high)
        if image.min() < low or image.max() > high:
            raise DataError(f"{source}: values from {image.min():g} to {image.max():g} {self._advice}")
        return image

    def conformed(self, path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """An image or volume with the wanted size and channels.

        Args:
            path: of the file, for the sentence of an error.
            image: [C, *S] inside `range`.

        Returns:
            float32 [C, *S].

        Raises:
            DataError: a size for another number of axes, or channels that a volume cannot have.
        """
        axes = image.ndim - 1
        if self.size is not None and len(self.size) != axes:
            kind, wanted = ("an image", "H W") if axes == 2 else ("a volume", "D H W")
            raise DataError(f"{path}: {kind}, for which --size takes {axes} numbers, {wanted}")
        if axes == 3 and self.channels == 1 and len(image) > 1:
            raise DataError(f"{path}: a volume of {len(image)} channels, which cannot be made into 1")
        return conform(image, self.size, self.channels, self.range)

    @property
    def _advice(self) -> str:
        if self.bounds is None:
            return "are not in [0, 1]; give --bounds LOW HIGH, or --window CENTER WIDTH"
        return f"lie outside --bounds {self.bounds[0]:g} {self.bounds[1]:g}; give wider ones, or --clip"


def _is_length(value: object) -> bool:
    return isinstance(value, int) and 1 <= value <= _LONGEST


def _are_finite(values: tuple[float, ...]) -> bool:
    return len(values) == 2 and all(math.isfinite(value) for value in values)


def _is_orientation(code: str) -> bool:
    axes = [pair for side in code for pair in _SIDES if side in pair]
    return len(code) == len(_SIDES) and sorted(axes) == sorted(_SIDES)
