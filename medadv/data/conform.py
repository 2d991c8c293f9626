"""Bring single images to a common size and number of channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medadv._optional import require

# 8192 x 8192: four times the largest mammogram detector, 256 MiB as float32.
MAX_PIXELS = 2**26
# ITU-R BT.601, the grey of JPEG and Pillow.
LUMA = np.array([0.299, 0.587, 0.114])


def conform(image: NDArray[np.float32], size: tuple[int, int] | None, channels: int | None) -> NDArray[np.float32]:
    """An image with the wanted size and channels; None leaves either as it is.

    Args:
        image: float32 [C, H, W] in [0, 1], C = 1 or 3.
        size: (H, W) in pixels. The whole image is stretched to it, bilinear and antialiased (Pillow).
        channels: 1 (grey = ITU-R BT.601 luma of a colour image) or 3 (a grey image three times).

    Returns:
        float32 [C, H, W] in [0, 1].

    >>> conform(np.full((3, 8, 8), 0.25, np.float32), (4, 6), 1).shape
    (1, 4, 6)
    """
    if channels == 1 and len(image) == 3:
        image = np.tensordot(LUMA, image.astype(np.float64), axes=1)[None].astype(np.float32)
    if channels == 3 and len(image) == 1:
        image = np.repeat(image, 3, axis=0)
    if size is not None and image.shape[1:] != tuple(size):
        image = np.stack([_resize(channel, size) for channel in image])
    return image


def _resize(channel: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    pillow = require("PIL.Image", extra="lab")
    height, width = size
    resized = pillow.fromarray(channel).resize((width, height), pillow.Resampling.BILINEAR)
    # Bilinear weights are positive and sum to 1 only up to rounding, so 1 may become 1 + 1e-7.
    return np.clip(np.asarray(resized, np.float32), 0.0, 1.0)
