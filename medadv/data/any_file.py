"""One image or volume from a file, or from a folder with a DICOM series, of whatever kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medadv.data.dicom import DICOM_MAGIC, DICOM_MAGIC_OFFSET, read_dicom, read_dicom_values
from medadv.data.dicom_series import read_dicom_series
from medadv.data.errors import DataError
from medadv.data.image_file import JPEG_SIGNATURE, PNG_SIGNATURE, read_image_file
from medadv.data.nifti import is_nifti, read_nifti
from medadv.data.preparation import Preparation

DICOM_SUFFIXES = (".dcm", ".dicom")


def read_any(path: Path, preparation: Preparation) -> NDArray[np.float32]:
    """Read one image or volume.

    The kind of a file is told by its content, but for NIfTI, which is told by .nii and .nii.gz.

    Args:
        path: PNG, JPEG, DICOM or NIfTI; a folder is a volume in the files of one DICOM series.
        preparation: what becomes of the values.

    Returns:
        float32 [C, H, W] or [C, D, H, W], inside the range of the preparation.

    Raises:
        DataError: one sentence that names the file and what is wrong with it.
    """
    return preparation.conformed(path, _read(path, preparation))


def _read(path: Path, preparation: Preparation) -> NDArray[np.float32]:
    if path.is_dir():
        _needs_units(path, preparation)
        return preparation.of_units(path, read_dicom_series(path))
    if not path.is_file():
        raise DataError(f"{path}: an image file expected, got a special file")
    if is_nifti(path):
        return preparation.of_units(path, read_nifti(path, preparation.orientation))
    with path.open("rb") as stream:
        start = stream.read(DICOM_MAGIC_OFFSET + len(DICOM_MAGIC))
    if start[DICOM_MAGIC_OFFSET:] == DICOM_MAGIC or path.suffix.lower() in DICOM_SUFFIXES:
        if preparation.bounds is None:
            return read_dicom(path, preparation.window)
        return preparation.of_units(path, read_dicom_values(path)[None])
    if not start.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
        raise DataError(f"{path}: neither a PNG, a JPEG, a DICOM nor a NIfTI file")
    if preparation.window is not None:
        raise DataError(f"{path}: a window (--window) applies to DICOM and NIfTI files, not to PNG or JPEG")
    if preparation.bounds is not None:
        raise DataError(f"{path}: bounds (--bounds) apply to DICOM, NIfTI and .npz files; PNG and JPEG lie in [0, 1]")
    return read_image_file(path)


def _needs_units(path: Path, preparation: Preparation) -> None:
    if preparation.bounds is None and preparation.window is None:
        raise DataError(
            f"{path}: a folder of images is read as a DICOM series, which needs a range: --bounds LOW HIGH "
            "(HU for CT), or --window CENTER WIDTH"
        )
