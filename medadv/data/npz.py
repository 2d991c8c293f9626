"""An .npz file in the MedMNIST layout."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from medadv.data.conform import MAX_PIXELS, conform
from medadv.data.errors import DataError, first_line
from medadv.data.image_set import ImageSet

# A member may unpack to this size whatever its ratio (empty borders and masks compress well) ...
FREE_BYTES = 2**28
# ... and beyond it to this many times its packed size, and never to more than MAX_BYTES.
MAX_RATIO = 100
MAX_BYTES = 2**33
MAX_CLASSES = 2**16


def read_npz(path: Path, size: tuple[int, int] | None, channels: int | None, split: str) -> ImageSet:
    """Read `{split}_images` and `{split}_labels` (layout: Yang et al., MedMNIST v2, 2023).

    Images are uint8 [N, H, W] or [N, H, W, 3], or floats of these shapes in [0, 1]; labels are whole numbers
    [N] or [N, 1] from 0. Nothing is unpickled, and the unpacked size is checked before memory is taken. Names
    are the indices "0", "1", ...; class names are the labels "0", "1", ... up to the largest.

    Args:
        path: the file.
        size, channels: as in medadv.data.read_images.
        split: prefix of the two arrays.

    Raises:
        DataError: another layout, dtype or range, a volume, fewer than two classes, or a file that is
            damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pixels = _array(path, archive, f"{split}_images")
            labels = _array(path, archive, f"{split}_labels")
    except DataError:
        raise
    except Exception as error:  # whatever zipfile, zlib and NumPy raise on a damaged file
        raise DataError(f"{path}: not a readable .npz file ({first_line(error)})") from None
    images = _images(path, pixels, f"{split}_images")
    checked = _labels(path, labels, f"{split}_labels", len(images))
    return ImageSet(
        np.stack([conform(image, size, channels) for image in images]),
        checked,
        tuple(map(str, range(len(images)))),
        tuple(map(str, range(int(checked.max()) + 1))),
    )


def _array(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    members = archive.namelist()
    if f"{name}.npy" not in members:
        found = ", ".join(sorted(member.removesuffix(".npy") for member in members)[:12])
        raise DataError(f"{path}: no array {name!r}, found {found or 'nothing'}; choose another split")
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as stream:
        shape, dtype, header = _header(stream)
    if dtype.hasobject:
        raise DataError(f"{path}: {name} holds Python objects, which are never unpickled; save plain numbers")
    declared = header + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if info.file_size != declared:
        raise DataError(f"{path}: {name} declares {declared} bytes but the archive holds {info.file_size}")
    if declared > MAX_BYTES or declared > max(FREE_BYTES, MAX_RATIO * info.compress_size):
        raise DataError(f"{path}: {name} would unpack {info.compress_size} bytes to {declared}, more than allowed")
    with archive.open(info) as stream:
        return np.asarray(npy_format.read_array(stream, allow_pickle=False))


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    version = npy_format.read_magic(stream)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype, stream.tell()


def _images(path: Path, pixels: NDArray[Any], name: str) -> NDArray[np.float32]:
    if (pixels.ndim == 4 and pixels.shape[3] != 3) or pixels.ndim == 5:
        raise DataError(
            f"{path}: {name} has shape {list(pixels.shape)}, read as volumes [N, D, H, W], and only "
            "2D images [N, H, W] or [N, H, W, 3] can be read"
        )
    if pixels.ndim not in (3, 4) or 0 in pixels.shape:
        raise DataError(f"{path}: {name} must be [N, H, W] or [N, H, W, 3] with N > 0, got {list(pixels.shape)}")
    if pixels.shape[1] * pixels.shape[2] > MAX_PIXELS:
        raise DataError(f"{path}: {name} has images of more than {MAX_PIXELS} pixels")
    stacked = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(stacked / np.float32(255), np.float32)
    if pixels.dtype.kind != "f":
        raise DataError(f"{path}: {name} must be uint8, or float in [0, 1], got {pixels.dtype}")
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: {name} has values that are NaN or infinite")
    if pixels.min() < 0 or pixels.max() > 1:
        raise DataError(f"{path}: {name} must lie in [0, 1], got {pixels.min()} to {pixels.max()}")
    return np.ascontiguousarray(stacked, np.float32)


def _labels(path: Path, labels: NDArray[Any], name: str, count: int) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(f"{path}: {name} has {labels.shape[1]} labels per image, exactly one expected")
    if labels.shape not in ((count,), (count, 1)):
        raise DataError(f"{path}: {name} must be [{count}] or [{count}, 1], got {list(labels.shape)}")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path}: {name} must be whole numbers, got {labels.dtype}")
    if labels.min() < 0:
        raise DataError(f"{path}: {name} must be 0 or above, got {labels.min()}")
    if labels.max() >= MAX_CLASSES:
        raise DataError(f"{path}: {name} must be below {MAX_CLASSES}, got {labels.max()}")
    if labels.min() == labels.max():
        raise DataError(f"{path}: {name} has only one class, {labels.min()}; at least two expected")
    return labels.reshape(count).astype(np.int64)
