"""PNG and JPEG files, through Pillow."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv._optional import require
from medadv.data.conform import MAX_PIXELS
from medadv.data.errors import DataError, first_line

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
FORMATS = ("PNG", "JPEG")
MAX_BYTES = 2**30
# Offsets in a PNG file: bit depth and colour type stand in the IHDR chunk, which is always the first.
PNG_BIT_DEPTH, PNG_COLOUR_TYPE = 24, 25
PNG_GREY = 0


def read_image_file(path: Path) -> NDArray[np.float32]:
    """Read one PNG or JPEG file.

    8-bit values are divided by 255, 16-bit grey by 65535, 1-bit by 1; a palette becomes its colours; an alpha
    channel that is opaque everywhere is dropped; an orientation tag (EXIF) is obeyed.

    Args:
        path: the file.

    Returns:
        float32 [C, H, W] in [0, 1], C = 1 (grey) or 3 (colour).

    Raises:
        DataError: damaged file, more than MAX_PIXELS or MAX_BYTES, transparency, 16-bit colour, CMYK, or an animation.
    """
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES} bytes")
    data = path.read_bytes()
    try:
        picture = _decode(path, data)
    except DataError:
        raise
    except Exception as error:  # whatever a parser raises on a damaged file; the set is not documented
        raise DataError(f"{path}: not a readable PNG or JPEG image ({first_line(error)})") from None
    return _to_float(path, picture)


def _decode(path: Path, data: bytes) -> Any:
    pillow = require("PIL.Image", extra="lab")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own bomb warning: the limit below is stricter
        picture = pillow.open(io.BytesIO(data), formats=FORMATS)
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise DataError(f"{path}: {height} x {width} is more than {MAX_PIXELS} pixels")
        if getattr(picture, "n_frames", 1) > 1:
            raise DataError(f"{path}: an animation of {picture.n_frames} frames, one still image expected")
        if data.startswith(PNG_SIGNATURE) and data[PNG_BIT_DEPTH] == 16 and data[PNG_COLOUR_TYPE] != PNG_GREY:
            raise DataError(f"{path}: 16-bit colour or alpha PNG, which Pillow cuts to 8 bits; save as 8 bit")
        # The pixel decoder skips the chunk checksums, so damage could pass as image content.
        pillow.open(io.BytesIO(data), formats=FORMATS).verify()
        picture.load()
        return require("PIL.ImageOps", extra="lab").exif_transpose(picture)


def _to_float(path: Path, picture: Any) -> NDArray[np.float32]:
    if picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA") if picture.mode != "LA" else picture
        if picture.getchannel("A").getextrema() != (255, 255):
            raise DataError(f"{path}: partly transparent, so its grey values depend on a background; flatten it")
        picture = picture.convert("L" if picture.mode == "LA" else "RGB")
    if picture.mode == "P":
        picture = picture.convert("RGB")
    if picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode not in ("L", "RGB", "I;16"):
        raise DataError(f"{path}: grey or RGB image expected, got Pillow mode {picture.mode}")
    pixels = np.asarray(picture)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels / np.float32(65535 if picture.mode == "I;16" else 255), np.float32)
