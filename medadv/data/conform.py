"""Bring single images to a common size and number of channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medadv._optional import require

# 8192 x 8192: four times the largest mammogram detector, 256 MiB as float32.
MAX_PIXELS = 2**26
# 512 x 512 x 2048: a CT of a whole body, 2 GiB as float32.
MAX_VOXELS = 2**29
# ITU-R BT.601, the grey of JPEG and Pillow.
LUMA = np.array([0.299, 0.587, 0.114])


def conform(
    image: NDArray[np.float32],
    size: tuple[int, ...] | None,
    channels: int | None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> NDArray[np.float32]:
    """An image with the wanted size and channels; None leaves either as it is.

    Args:
        image: float32 [C, H, W] or [C, D, H, W], inside the bounds, C = 1 or 3.
        size: (H, W) or (D, H, W) in voxels. The whole image is stretched to it, linear and antialiased (Pillow).
        channels: 1 (grey = ITU-R BT.601 luma of a colour image) or 3 (a grey image three times).
        bounds: (low, high) in image units.

    Returns:
        float32 [C, H, W] or [C, D, H, W], inside the bounds.

    >>> conform(np.full((3, 8, 8), 0.25, np.float32), (4, 6), 1).shape
    (1, 4, 6)
    >>> conform(np.full((1, 8, 8, 8), 0.25, np.float32), (2, 4, 6), None).shape
    (1, 2, 4, 6)
    """
    if channels == 1 and len(image) == 3:
        image = np.tensordot(LUMA, image.astype(np.float64), axes=1)[None].astype(np.float32)
    if channels == 3 and len(image) == 1:
        image = np.repeat(image, 3, axis=0)
    if size is not None and image.shape[1:] != tuple(size):
        # Weights are positive and sum to 1 only up to rounding, so the highest value may be passed by 1e-7 of it.
        image = np.clip(np.stack([_resized(channel, size) for channel in image]), *map(np.float32, bounds))
    return image


def _resized(channel: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    if channel.ndim == 2:
        return _stretched(channel, *size)
    depth, height, width = size
    # Along the depth first: for Pillow, a picture whose rows are the slices.
    slices = _stretched(channel.reshape(len(channel), -1), depth, channel[0].size)
    return np.stack([_stretched(each, height, width) for each in slices.reshape(depth, *channel.shape[1:])])


def _stretched(plane: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    pillow = require("PIL.Image", extra="lab")
    resized = pillow.fromarray(np.ascontiguousarray(plane)).resize((width, height), pillow.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)
