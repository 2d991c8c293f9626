"""Images as PNG data, and the colours of a change."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from medadv._optional import require

Array = np.ndarray[Any, Any]

_MIDDLE = np.array([0.965, 0.0, 0.0])
_ENDS = {"low": (0.42, 0.14, 255.0), "high": (0.42, 0.14, 40.0)}  # OKLCH: lightness, chroma, hue in degrees


def diverging_palette() -> Array:
    """Colours from a fall (blue) over no change (near white) to a rise (brown red).

    Lightness falls evenly, and equally, from the middle to both ends in OKLab, where equal steps look equal;
    blue and red brown stay apart for all common kinds of colour blindness.

    Returns:
        [255, 3] uint8 sRGB; index 127 is no change.

    Source: the design is ours; OKLab is B. Ottosson, "A perceptual color space for image processing" (2020).

    >>> diverging_palette()[127].tolist()
    [243, 243, 243]
    """
    steps = np.linspace(0, 1, 128)[:, None]
    halves = []
    for lightness, chroma, hue in _ENDS.values():
        angle = np.deg2rad(hue)
        end = np.array([lightness, chroma * np.cos(angle), chroma * np.sin(angle)])
        halves.append(_MIDDLE + steps * (end - _MIDDLE))
    low, high = halves
    return _oklab_to_srgb(np.concatenate([low[:0:-1], high]))


def image_uri(image: Array) -> str:
    """An image as a PNG data URI.

    Args:
        image: [C, H, W] in [0, 1]; three channels are colours, any other number is averaged to grey.

    Returns:
        "data:image/png;base64,..."
    """
    pixels = np.round(np.clip(image, 0, 1) * 255)
    if len(pixels) == 3:
        return _png(np.moveaxis(pixels, 0, -1).astype(np.uint8))
    return _png(np.round(pixels.mean(0)).astype(np.uint8))


def change_uri(change: Array, limit: float) -> str:
    """A change as a PNG data URI in the colours of `diverging_palette`.

    Args:
        change: [C, H, W]; of several channels the largest change counts, with its sign.
        limit: positive; the value of the last colour.

    Returns:
        "data:image/png;base64,..."
    """
    largest = np.take_along_axis(change, np.abs(change).argmax(0)[None], 0)[0]
    return _png(np.round(np.clip(largest / limit, -1, 1) * 127 + 127).astype(np.uint8), diverging_palette())


def colour_bar_uri() -> str:
    """All colours of `diverging_palette`, from left to right, as a PNG data URI of one row."""
    return _png(np.arange(255, dtype=np.uint8)[None], diverging_palette())


def _png(pixels: Array, palette: Array | None = None) -> str:
    picture = require("PIL.Image", extra="lab").fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _oklab_to_srgb(lab: Array) -> Array:
    """[N, 3] OKLab to uint8 sRGB; matrices from the source."""
    to_cone = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip((lab @ to_cone.T) ** 3 @ to_rgb.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: Array = np.round(255 * encoded).astype(np.uint8)
    return colours
