"""The door to images on disk."""

from __future__ import annotations

import math
import os
from pathlib import Path

from medadv.data.errors import DataError
from medadv.data.folder import read_folder
from medadv.data.image_set import ImageSet
from medadv.data.npz import read_npz


def read_images(
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    window: tuple[float, float] | None = None,
    split: str = "test",
) -> ImageSet:
    """Read labelled images from a folder of class folders (PNG, JPEG, DICOM) or a MedMNIST .npz.

    Args:
        path: folder or .npz file.
        size: (H, W) in pixels; every image is stretched to it, bilinear and antialiased. None: all must be of
            one size.
        channels: 1 (grey) or 3 (colour). None: all images must have the same.
        window: (center, width) for DICOM, in units after rescaling (HU for CT); replaces the window in the
            file.
        split: which part of an .npz file: "train", "val" or "test".

    Returns:
        The images in [0, 1] in the order of their classes and names.

    Raises:
        DataError: one sentence that names the file and what is wrong with it.
        ValueError: a wrong size, channels or window.

    >>> read_images("no-such-folder")
    Traceback (most recent call last):
    medadv.data.errors.DataError: no-such-folder: no such file or folder
    """
    _check_arguments(size, channels, window)
    place = Path(path)
    if place.is_dir():
        return read_folder(place, size, channels, window)
    if not place.exists():
        raise DataError(f"{place}: no such file or folder")
    if place.suffix.lower() != ".npz" or not place.is_file():
        raise DataError(f"{place}: a folder with one sub-folder per class or an .npz file expected")
    if window is not None:
        raise DataError(f"{place}: a window (--window) applies to DICOM files, not to .npz")
    return read_npz(place, size, channels, split)


def _check_arguments(size: tuple[int, int] | None, channels: int | None, window: tuple[float, float] | None) -> None:
    if size is not None and (len(size) != 2 or not all(isinstance(n, int) and 1 <= n <= 8192 for n in size)):
        raise ValueError(f"size must be two whole numbers (height, width) from 1 to 8192, got {size}")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    if window is None:
        return
    if len(window) != 2 or not all(math.isfinite(value) for value in window) or window[1] <= 0:
        raise ValueError(f"window must be (center, width) with a width above 0, got {window}")
