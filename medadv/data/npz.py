"""An .npz file in the MedMNIST layout, 2D or 3D."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from medadv.data.conform import MAX_PIXELS, MAX_VOXELS
from medadv.data.errors import DataError, first_line
from medadv.data.folder import spread_rows
from medadv.data.image_set import ImageSet
from medadv.data.preparation import Preparation

# A member may unpack to this size whatever its ratio (empty borders and masks compress well) ...
FREE_BYTES = 2**28
# ... and beyond it to this many times its packed size, and never to more than MAX_BYTES.
MAX_RATIO = 100
MAX_BYTES = 2**33
MAX_CLASSES = 2**16


def read_npz(
    path: Path,
    preparation: Preparation,
    split: str,
    several: bool = False,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
) -> ImageSet:
    """Read `{split}_images` and `{split}_labels` (layout: Yang et al., MedMNIST v2, 2023).

    Images are [N, H, W] or [N, H, W, 3], volumes [N, D, H, W] or [N, C, D, H, W]: uint8, which become [0, 1], or floats
    in [0, 1]; with bounds, any real numbers, which keep their units. Labels are whole numbers [N] or [N, 1] from 0; or
    [N, K] of 0 and 1 where an image has several findings. Nothing is unpickled, and the unpacked size is checked before
    memory is taken. Names are the indices "0", "1", ...

    Args:
        path: the file.
        preparation: what becomes of the values.
        split: prefix of the two arrays.
        several: whether an image has several findings.
        classes: names of the classes or findings. None: their numbers, "0", "1", ...
        limit: keep only so many images, evenly spread over all. None: all.

    Raises:
        DataError: another layout, dtype or range, fewer than two classes, or a file that is damaged.
    """
    if preparation.window is not None or preparation.orientation is not None:
        word = "a window (--window) applies to DICOM and" if preparation.window else "an --orientation applies to"
        raise DataError(f"{path}: {word} NIfTI files, not to .npz")
    try:
        with zipfile.ZipFile(path) as archive:
            pixels = _array(path, archive, f"{split}_images")
            labels = _array(path, archive, f"{split}_labels")
    except DataError:
        raise
    except Exception as error:  # whatever zipfile, zlib and NumPy raise on a damaged file
        raise DataError(f"{path}: not a readable .npz file ({first_line(error)})") from None
    stacked = _stacked(path, pixels, f"{split}_images")
    checked = (_findings if several else _labels)(path, labels, f"{split}_labels", len(stacked))
    names = _class_names(path, checked, classes)
    rows = spread_rows(len(stacked), limit)
    images = [preparation.conformed(path, _image(f"{path}: {split}_images", stacked[row], preparation)) for row in rows]
    return ImageSet(np.stack(images), checked[rows], tuple(str(row) for row in rows), names, preparation.range)


def _array(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    members = archive.namelist()
    if f"{name}.npy" not in members:
        found = ", ".join(sorted(member.removesuffix(".npy") for member in members)[:12])
        others = any(member.endswith("_images.npy") for member in members)
        hint = (
            "choose another split" if others else "images and labels must be named as in 'test_images', 'test_labels'"
        )
        raise DataError(f"{path}: no array {name!r}, found {found or 'nothing'}; {hint}")
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


def _stacked(path: Path, pixels: NDArray[Any], name: str) -> NDArray[Any]:
    """The images as [N, C, H, W] or [N, C, D, H, W]."""
    if pixels.ndim not in (3, 4, 5) or 0 in pixels.shape:
        raise DataError(
            f"{path}: {name} must be [N, H, W], [N, H, W, 3], [N, D, H, W] or [N, C, D, H, W] with N > 0, "
            f"got {list(pixels.shape)}"
        )
    if pixels.dtype.kind not in "iuf":
        raise DataError(f"{path}: {name} must be real numbers, got {pixels.dtype}")
    if pixels.ndim == 4 and pixels.shape[3] == 3:
        stacked = pixels.transpose(0, 3, 1, 2)
    else:
        stacked = pixels if pixels.ndim == 5 else pixels[:, None]
    limit, what = (MAX_PIXELS, "pixels") if stacked.ndim == 4 else (MAX_VOXELS, "voxels")
    if stacked[0, 0].size > limit:
        raise DataError(f"{path}: {name} has images of more than {limit} {what}")
    return np.asarray(stacked)


def _image(source: str, image: NDArray[Any], preparation: Preparation) -> NDArray[np.float32]:
    if preparation.bounds is not None or image.dtype.kind == "f":
        return preparation.of_units(source, image)
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image / np.float32(255), np.float32)
    raise DataError(f"{source} must be uint8, or float in [0, 1], got {image.dtype}; other units need --bounds")


def _labels(path: Path, labels: NDArray[Any], name: str, count: int) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(
            f"{path}: {name} has {labels.shape[1]} labels per image, exactly one expected (several: --task multilabel)"
        )
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


def _findings(path: Path, labels: NDArray[Any], name: str, count: int) -> NDArray[np.int64]:
    if labels.ndim != 2 or len(labels) != count or labels.shape[1] == 0:
        raise DataError(f"{path}: {name} must be [{count}, findings], got {list(labels.shape)}")
    if labels.dtype.kind not in "biu" or labels.min() < 0 or labels.max() > 1:
        raise DataError(f"{path}: {name} must be 0 or 1 for each finding, got {labels.dtype} up to {labels.max()}")
    return labels.astype(np.int64)


def _class_names(path: Path, labels: NDArray[np.int64], classes: Sequence[str] | None) -> tuple[str, ...]:
    count = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    if classes is None:
        return tuple(map(str, range(count)))
    if len(classes) != count if labels.ndim == 2 else len(classes) < count:
        raise DataError(f"{path}: {count} names expected with --classes, got {len(classes)}")
    return tuple(classes)
