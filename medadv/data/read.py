"""The door to images on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from medadv.data.errors import DataError
from medadv.data.folder import read_folder, read_labelled_folder
from medadv.data.image_set import ImageSet
from medadv.data.labels import read_labels
from medadv.data.npz import read_npz
from medadv.data.preparation import Preparation


def read_images(
    path: str | os.PathLike[str],
    *,
    size: tuple[int, ...] | None = None,
    channels: int | None = None,
    window: tuple[float, float] | None = None,
    bounds: tuple[float, float] | None = None,
    clip: bool = False,
    orientation: str | None = None,
    split: str = "test",
    labels: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    several: bool = False,
    limit: int | None = None,
) -> ImageSet:
    """Read labelled images or volumes from a folder (PNG, JPEG, DICOM, NIfTI) or an .npz in the MedMNIST layout.

    All of them are held in memory as float32.

    Args:
        path: folder with one sub-folder per class, folder of images with a table of `labels`, or .npz file.
        size: (H, W) of images or (D, H, W) of volumes in voxels; every image is stretched to it, linear and
            antialiased. None: all must be of one size.
        channels: 1 (grey) or 3 (colour). None: all images must have the same.
        window: (center, width) for DICOM and NIfTI, in units after rescaling (HU for CT), that becomes [0, 1]; replaces
            the window in a DICOM file.
        bounds: (low, high), the range of the images, which then keep the units of DICOM, NIfTI and .npz files, such as
            (-1024, 3071) for CT. None: images are in [0, 1].
        clip: cut off values beyond the bounds instead of refusing them.
        orientation: sides to which the axes of NIfTI volumes lead, such as "RAS". None: as they are stored.
        split: which part of an .npz file: "train", "val" or "test".
        labels: a CSV file, see `medadv.data.labels.read_labels`.
        classes: names of the classes or findings, in the order of the model's outputs; with one sub-folder per class,
            of all of them. None: sub-folders in alphabetical order, `labels` as `read_labels` says, numbers of an .npz.
        several: whether an image has several findings that are each there or not; needs `labels`, or an .npz.
        limit: read only so many images, evenly spread over all. None: all.

    Returns:
        The images in the order of their classes and names, or of their names alone where there are `labels`.

    Raises:
        DataError: one sentence that names the file and what is wrong with it.
        ValueError: a wrong size, channels, window, bounds or orientation.

    >>> read_images("no-such-folder")
    Traceback (most recent call last):
    medadv.data.errors.DataError: no-such-folder: no such file or folder
    """
    preparation = Preparation(size, channels, window, bounds, clip, orientation)
    place = Path(path)
    if not place.exists():
        raise DataError(f"{place}: no such file or folder")
    if place.is_dir() and labels is not None:
        return read_labelled_folder(place, read_labels(Path(labels), classes, several), preparation, limit)
    if place.is_dir():
        if several:
            raise DataError(f"{place}: several findings need a table of labels, --labels FILE")
        return read_folder(place, preparation, classes, limit)
    if place.suffix.lower() != ".npz" or not place.is_file():
        raise DataError(f"{place}: a folder with one sub-folder per class or an .npz file expected")
    if labels is not None:
        raise DataError(f"{place}: an .npz file has its labels inside, so that --labels {labels} is not used")
    return read_npz(place, preparation, split, several, classes, limit)
