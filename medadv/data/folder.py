"""A folder with one sub-folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medadv.data.conform import conform
from medadv.data.dicom import DICOM_MAGIC, DICOM_MAGIC_OFFSET, read_dicom
from medadv.data.errors import DataError
from medadv.data.image_file import JPEG_SIGNATURE, PNG_SIGNATURE, read_image_file
from medadv.data.image_set import ImageSet

DICOM_SUFFIXES = (".dcm", ".dicom")


def read_folder(
    path: Path, size: tuple[int, int] | None, channels: int | None, window: tuple[float, float] | None
) -> ImageSet:
    """Read every image of a folder; sub-folders in alphabetical order are the classes 0, 1, ...

    Hidden files and folders (name starts with a dot) are left out; any other file that is not PNG, JPEG or
    DICOM is an error, so no image is dropped in silence. The kind of a file is told by its content.

    Args:
        path: the folder; image names are paths relative to it.
        size, channels, window: as in medadv.data.read_images.

    Raises:
        DataError: fewer than two classes, an empty class, an unreadable file, mixed sizes or channels.
    """
    classes = _classes(path)
    images: list[NDArray[np.float32]] = []
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(classes):
        for file in _files(folder):
            image = conform(_read_file(file, window), size, channels)
            if images:
                _check_alike(files[0], images[0], file, image)
            images.append(image)
            files.append(file)
            labels.append(label)
    return ImageSet(
        np.stack(images),
        np.array(labels, np.int64),
        tuple(file.relative_to(path).as_posix() for file in files),
        tuple(folder.name for folder in classes),
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _classes(path: Path) -> list[Path]:
    entries = _visible(path)
    if not entries:
        raise DataError(f"{path}: the folder is empty, one sub-folder of images per class expected")
    for entry in entries:
        if not entry.is_dir():
            raise DataError(f"{entry}: a file beside the class folders, one sub-folder of images per class expected")
    if len(entries) == 1:
        raise DataError(f"{path}: only one class, {entries[0].name!r}; at least two sub-folders expected")
    return entries


def _files(folder: Path) -> list[Path]:
    files = _visible(folder)
    if not files:
        raise DataError(f"{folder}: the class folder is empty, at least one image expected")
    return files


def _read_file(file: Path, window: tuple[float, float] | None) -> NDArray[np.float32]:
    if not file.is_file():
        raise DataError(f"{file}: an image file expected inside a class folder, got a folder or a special file")
    with file.open("rb") as stream:
        start = stream.read(DICOM_MAGIC_OFFSET + len(DICOM_MAGIC))
    if start[DICOM_MAGIC_OFFSET:] == DICOM_MAGIC or file.suffix.lower() in DICOM_SUFFIXES:
        return read_dicom(file, window)
    if not start.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
        raise DataError(f"{file}: neither a PNG, a JPEG nor a DICOM file")
    if window is not None:
        raise DataError(f"{file}: a window (--window) applies to DICOM files, not to PNG or JPEG")
    return read_image_file(file)


def _check_alike(first: Path, first_image: NDArray[np.float32], file: Path, image: NDArray[np.float32]) -> None:
    if first_image.shape[1:] != image.shape[1:]:
        sizes = [" x ".join(map(str, array.shape[1:])) for array in (first_image, image)]
        raise DataError(f"images differ in size: {first} is {sizes[0]}, {file} is {sizes[1]}; give --size H W")
    if len(first_image) != len(image):
        kinds = ["grey" if len(array) == 1 else "colour" for array in (first_image, image)]
        raise DataError(f"images differ in channels: {first} is {kinds[0]}, {file} is {kinds[1]}; give --channels 1")
