"""NIfTI volumes, through nibabel."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv._optional import require
from medadv.data.conform import MAX_VOXELS
from medadv.data.errors import DataError, first_line

SUFFIXES = (".nii", ".nii.gz")
# Deflate never packs tighter than 1032 to 1.
_MAX_RATIO = 1032


def is_nifti(path: Path) -> bool:
    """Whether a file is called like a NIfTI volume.

    >>> is_nifti(Path("a.nii.gz")), is_nifti(Path("a.gz"))
    (True, False)
    """
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path, orientation: str | None = None) -> NDArray[np.float32]:
    """Read one NIfTI volume, after its slope and intercept.

    Args:
        path: a .nii or .nii.gz file.
        orientation: sides to which the axes of the result lead, such as "RAS"; axes are exchanged and turned round, and
            nothing is interpolated. None: the axes as they are stored, i, j, k.

    Returns:
        float32 [C, D, H, W] in the units of the file; a fourth axis of the file becomes the channels.

    Raises:
        DataError: not three or four axes, no real numbers, too many voxels, a damaged file.
    """
    nibabel = require("nibabel", extra="medical")
    try:
        volume = nibabel.load(path)
        _check_header(path, volume)
        if orientation is not None:
            volume = _turned(volume, orientation)
        values = np.asarray(volume.dataobj, dtype=np.float32)
    except (DataError, ImportError):
        raise
    except Exception as error:  # whatever nibabel and zlib raise on a damaged file
        raise DataError(f"{path}: not a readable NIfTI volume ({first_line(error)})") from None
    return values[None] if values.ndim == 3 else np.ascontiguousarray(np.moveaxis(values, 3, 0))


def _check_header(path: Path, volume: Any) -> None:
    if not isinstance(volume, require("nibabel.nifti1", extra="medical").Nifti1Pair):
        raise DataError(f"{path}: not a NIfTI volume")
    shape, dtype = volume.header.get_data_shape(), volume.get_data_dtype()
    voxels = math.prod(shape)
    if len(shape) not in (3, 4) or voxels == 0:
        raise DataError(f"{path}: a volume [D, H, W] or [D, H, W, C] expected, got {list(shape)}")
    if dtype.kind not in "iuf":
        raise DataError(f"{path}: real numbers expected, got {dtype}")
    if voxels > MAX_VOXELS:
        raise DataError(f"{path}: {' x '.join(map(str, shape))} is more than {MAX_VOXELS} voxels")
    # Before memory is taken for what the header only claims.
    packed = path.stat().st_size * (_MAX_RATIO if path.name.lower().endswith(".gz") else 1)
    if voxels * dtype.itemsize > packed:
        raise DataError(f"{path}: the header declares {voxels} voxels, more than the file can hold")


def _turned(volume: Any, orientation: str) -> Any:
    of = require("nibabel.orientations", extra="medical")
    now, wanted = of.io_orientation(volume.affine), of.axcodes2ornt(tuple(orientation))
    return volume.as_reoriented(of.ornt_transform(now, wanted))
