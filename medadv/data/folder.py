"""A folder of images: one sub-folder per class, or a table of labels beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medadv.data.any_file import read_any
from medadv.data.errors import DataError, some
from medadv.data.image_set import ImageSet
from medadv.data.labels import LabelTable
from medadv.data.preparation import Preparation


def read_folder(
    path: Path, preparation: Preparation, classes: Sequence[str] | None = None, limit: int | None = None
) -> ImageSet:
    """Read every image of a folder; its sub-folders are the classes 0, 1, ...

    Hidden files and folders (name starts with a dot) are left out; any other file that is not PNG, JPEG, DICOM or NIfTI
    is an error, so no image is dropped in silence. A folder inside a class is a volume, the files of one DICOM series.

    Args:
        path: the folder; image names are paths relative to it.
        preparation: what becomes of the values.
        classes: names of all sub-folders, in the order of their numbers. None: alphabetical order.
        limit: read only so many images, evenly spread over all. None: all.

    Raises:
        DataError: fewer than two classes, a sub-folder that is not in `classes`, a name there without a sub-folder, an
            empty class, an unreadable file, mixed sizes or channels.
    """
    folders = _class_folders(path) if classes is None else _in_order(path, _class_folders(path), classes)
    all_files = [(file, label) for label, folder in enumerate(folders) for file in _files(folder)]
    chosen = [all_files[row] for row in spread_rows(len(all_files), limit)]
    return ImageSet(
        _read_all([file for file, _ in chosen], preparation),
        np.array([label for _, label in chosen], np.int64),
        tuple(file.relative_to(path).as_posix() for file, _ in chosen),
        tuple(folder.name for folder in folders),
        preparation.range,
    )


def read_labelled_folder(path: Path, table: LabelTable, preparation: Preparation, limit: int | None = None) -> ImageSet:
    """Read every image of a folder, however deep, with labels from a table.

    Args:
        path: the folder; image names are paths relative to it, in alphabetical order.
        table: the labels; every image must have one.
        preparation: what becomes of the values.
        limit: read only so many images, evenly spread over all. None: all.

    Raises:
        DataError: no image, an image without a label, an unreadable file, mixed sizes or channels.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(path)))
    if not files:
        raise DataError(f"{path}: the folder is empty, images expected")
    names = [file.relative_to(path).as_posix() for file in files]
    labels = table.of(names)
    rows = spread_rows(len(files), limit)
    images = _read_all([files[row] for row in rows], preparation)
    return ImageSet(images, labels[rows], tuple(names[row] for row in rows), table.class_names, preparation.range)


def spread_rows(count: int, limit: int | None) -> NDArray[np.int64]:
    """At most `limit` of the numbers from 0 to count - 1, evenly spread.

    >>> spread_rows(10, 4).tolist(), spread_rows(3, None).tolist()
    ([0, 2, 5, 7], [0, 1, 2])
    """
    if limit is None or limit >= count:
        return np.arange(count)
    return np.arange(limit) * count // limit


def _read_all(files: Sequence[Path], preparation: Preparation) -> NDArray[np.float32]:
    first = read_any(files[0], preparation)
    _check_memory(len(files) * first.nbytes)
    images = np.empty((len(files), *first.shape), np.float32)
    images[0] = first
    for number, file in enumerate(files[1:], start=1):
        image = read_any(file, preparation)
        _check_alike(files[0], first, file, image)
        images[number] = image
    return images


def _check_memory(needed: int) -> None:
    """Refuse what cannot be held, before hours of reading."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        return
    if needed > there:
        raise DataError(
            f"the images need {needed / 2**30:.1f} GiB of memory and the machine has {there / 2**30:.1f}; "
            "give a smaller --size, or --limit N"
        )


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not _is_hidden(entry.relative_to(folder)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _class_folders(path: Path) -> list[Path]:
    entries = _visible(path)
    if not entries:
        raise DataError(f"{path}: the folder is empty, one sub-folder of images per class expected")
    for entry in entries:
        if not entry.is_dir():
            raise DataError(
                f"{entry}: a file beside the class folders, one sub-folder of images per class, or --labels expected"
            )
    if len(entries) == 1:
        raise DataError(f"{path}: only one class, {entries[0].name!r}; at least two sub-folders expected")
    return entries


def _in_order(path: Path, folders: list[Path], classes: Sequence[str]) -> list[Path]:
    """The class folders as they are named; each name must have one, as a class without images is refused too."""
    by_name = {folder.name: folder for folder in folders}
    unnamed = [name for name in by_name if name not in classes]
    if unnamed:
        raise DataError(f"{path}: {unnamed[0]!r} is not among the --classes {some(classes)}")
    missing = [name for name in classes if name not in by_name]
    if missing:
        raise DataError(f"{path}: no folder of the class {missing[0]!r}, which --classes names")
    return [by_name[name] for name in classes]


def _files(folder: Path) -> list[Path]:
    files = _visible(folder)
    if not files:
        raise DataError(f"{folder}: the class folder is empty, at least one image expected")
    return files


def _check_alike(first: Path, first_image: NDArray[np.float32], file: Path, image: NDArray[np.float32]) -> None:
    if first_image.shape[1:] != image.shape[1:]:
        sizes = [" x ".join(map(str, array.shape[1:])) for array in (first_image, image)]
        wanted = "H W" if first_image.ndim == 3 else "D H W"
        raise DataError(f"images differ in size: {first} is {sizes[0]}, {file} is {sizes[1]}; give --size {wanted}")
    if len(first_image) != len(image):
        raise DataError(
            f"images differ in channels: {first} is {_kind(first_image)}, {file} is {_kind(image)}; give --channels 1"
        )


def _kind(image: NDArray[np.float32]) -> str:
    return {1: "grey", 3: "colour"}.get(len(image), f"of {len(image)} channels")
