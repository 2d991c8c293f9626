"""A volume in the files of one DICOM series: one folder, one slice per file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv.data.conform import MAX_VOXELS
from medadv.data.dicom import open_dicom, values_of
from medadv.data.errors import DataError

# Positions are written with a few decimals; a missing slice changes a distance by all of it.
_SPACING_TOLERANCE = 0.05
_DIRECTION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class _Slice:
    path: Path
    series: str
    rows: NDArray[np.float64]  # direction cosines of rows and columns, [6]
    place: NDArray[np.float64]  # of its first voxel, [3] in mm


def read_dicom_series(folder: Path) -> NDArray[np.float32]:
    """Read the slices of one series, in the order of their positions along the normal of their plane.

    Args:
        folder: with nothing but the files of one series; hidden files are left out.

    Returns:
        float32 [1, D, H, W] after the modality LUT, or slope and intercept: HU for CT.

    Raises:
        DataError: fewer than two slices, several series, slices of another size, direction or distance, a file that is
            no grey DICOM image or has no position.
    """
    files = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if len(files) < 2:
        raise DataError(f"{folder}: a DICOM series of at least 2 slices expected, got {len(files)} files")
    slices, planes = [], []
    for file in files:
        dataset = open_dicom(file)
        slices.append(_slice(file, dataset))
        planes.append(values_of(file, dataset))
        if planes[-1].shape != planes[0].shape:
            shapes = [" x ".join(map(str, plane.shape)) for plane in (planes[0], planes[-1])]
            raise DataError(f"{folder}: slices differ in size: {files[0].name} is {shapes[0]}, {file.name} {shapes[1]}")
        if len(planes) * planes[0].size > MAX_VOXELS:
            raise DataError(f"{folder}: more than {MAX_VOXELS} voxels")
    order = _order(folder, slices)
    return np.stack([planes[number] for number in order]).astype(np.float32)[None]


def _slice(path: Path, dataset: Any) -> _Slice:
    if dataset.get("ImagePositionPatient") is None or dataset.get("ImageOrientationPatient") is None:
        raise DataError(f"{path}: no position and direction of the slice, so that the slices have no order")
    try:
        place = np.array([float(value) for value in dataset.ImagePositionPatient])
        rows = np.array([float(value) for value in dataset.ImageOrientationPatient])
    except (TypeError, ValueError):
        raise DataError(f"{path}: position and direction of the slice are no numbers") from None
    if place.shape != (3,) or rows.shape != (6,) or not np.isfinite([*place, *rows]).all():
        raise DataError(f"{path}: position and direction of the slice are not 3 and 6 numbers")
    return _Slice(path, str(dataset.get("SeriesInstanceUID", "")), rows, place)


def _order(folder: Path, slices: list[_Slice]) -> list[int]:
    first = slices[0]
    for each in slices:
        if each.series != first.series:
            raise DataError(f"{folder}: several series, one expected: {first.path.name} and {each.path.name} differ")
        if np.abs(each.rows - first.rows).max() > _DIRECTION_TOLERANCE:
            raise DataError(f"{folder}: {each.path.name} lies in another direction than {first.path.name}")
    normal = np.cross(first.rows[:3], first.rows[3:])
    along = np.array([each.place @ normal for each in slices])
    order: list[int] = np.argsort(along, kind="stable").tolist()
    steps = np.diff(along[order])
    if not (steps > 0).all():
        same = int(np.argmin(steps))
        names = [slices[order[same + offset]].path.name for offset in (0, 1)]
        raise DataError(f"{folder}: {names[0]} and {names[1]} are at one place")
    middle = float(np.median(steps))
    if np.abs(steps - middle).max() > _SPACING_TOLERANCE * middle:
        worst = int(np.argmax(np.abs(steps - middle)))
        raise DataError(
            f"{folder}: {steps[worst]:g} mm after {slices[order[worst]].path.name} and {middle:g} mm elsewhere: is a "
            "slice missing?"
        )
    return order
