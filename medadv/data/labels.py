"""A table of labels beside the images: a CSV file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from medadv.data.errors import DataError, first_line, some

MAX_BYTES = 2**30
MAX_CLASSES = 2**16
NO_FINDING = "No Finding"
# Columns that hold the label, or several of them as "A|B", where there are other columns too.
_LABEL_COLUMNS = ("finding labels", "labels", "label")
_SUFFIXES = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".dcm", ".dicom")


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Labels of images by their names.

    Args:
        path: of the table.
        labels: by the name in the table, int64 [] or [K].
        class_names: the K classes or findings.
    """

    path: Path
    labels: dict[str, NDArray[np.int64]]
    class_names: tuple[str, ...]

    def of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The labels of images.

        An image is looked up by its path relative to the folder of images, else by its file name, else by that without
        its ending. Rows of images that are not asked for are left out.

        Args:
            names: relative paths.

        Returns:
            int64 [N] or [N, K].

        Raises:
            DataError: an image that has no row.
        """
        missing = [name for name in names if self._key(name) is None]
        if missing:
            raise DataError(f"{self.path}: no row for {len(missing)} of {len(names)} images, such as {missing[0]}")
        return np.stack([self.labels[str(self._key(name))] for name in names])

    def _key(self, name: str) -> str | None:
        file = PurePosixPath(name).name
        return next((key for key in (name, file, _stem(name), _stem(file)) if key in self.labels), None)


def read_labels(path: Path, classes: Sequence[str] | None, several: bool) -> LabelTable:
    """Read labels from a CSV file with a header, whose first column names the image.

    Findings (`several`) stand in one column each, 0 or 1 (CheXpert), or in one column as "A|B" with "No Finding" for
    none (ChestX-ray14: "Finding Labels"). One class stands in one column by name or number, or as one column per class,
    exactly one of them 1. The column is called "Finding Labels", "labels" or "label", or is the only other one.

    Args:
        path: the file, UTF-8.
        classes: names in the order of the model's outputs. None: the columns in their order; of one class per image,
            the names in alphabetical order, or the numbers from 0; findings as "A|B" need them.
        several: whether an image has several findings.

    Returns:
        The table.

    Raises:
        DataError: one sentence that names the file, and the row, and what is wrong with it.
    """
    header, rows = _read(path)
    names = [row[0] for row in rows]
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DataError(f"{path}: one row per image expected, {repeated[0]!r} has {names.count(repeated[0])}")
    column = _label_column(header, classes)
    if column is None:
        found, labels = _from_columns(path, header, rows, classes)
        labels = labels if several else _one_of(path, names, labels)
    elif several:
        found, labels = _from_texts(path, rows, column, classes)
    else:
        found, labels = _from_names(path, rows, column, classes)
    return LabelTable(path, dict(zip(names, labels, strict=True)), found)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES} bytes")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = [[cell.strip() for cell in line] for line in csv.reader(stream, strict=True) if line]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV file ({first_line(error)})") from None
    if len(lines) < 2 or len(lines[0]) < 2:
        raise DataError(f"{path}: a header, and columns for the image and its label expected")
    header, rows = lines[0], lines[1:]
    # ChestX-ray14 ends its header, or its rows, with an empty cell more.
    for number, row in enumerate(rows, start=2):
        if len(row) < len(header) and any(header[len(row) :]):
            raise DataError(f"{path}: row {number} has {len(row)} cells, {len(header)} expected")
    return header, rows


def _label_column(header: list[str], classes: Sequence[str] | None) -> int | None:
    """The column of the label; None where every class has a column."""
    if classes is not None and set(classes) <= set(header[1:]):
        return None
    known = [number for number, name in enumerate(header) if number and name.lower() in _LABEL_COLUMNS]
    if known:
        return known[0]
    return 1 if len(header) == 2 else None


def _from_columns(
    path: Path, header: list[str], rows: list[list[str]], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    missing = [name for name in classes or () if name not in header[1:]]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r} among {some(header[1:])}")
    found = tuple(classes or header[1:])
    places = [header.index(name, 1) for name in found]
    labels = np.empty((len(rows), len(found)), np.int64)
    for number, row in enumerate(rows):
        for finding, place in enumerate(places):
            labels[number, finding] = _zero_or_one(path, number + 2, header[place], row[place])
    return found, labels


def _zero_or_one(path: Path, number: int, column: str, cell: str) -> int:
    values = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    if cell not in values:
        raise DataError(
            f"{path}: row {number} has {cell!r} under {column!r}, 0 or 1 expected (name the columns that are findings "
            "with --classes; decide on blank and uncertain entries first)"
        )
    return values[cell]


def _one_of(path: Path, names: list[str], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    wrong = np.flatnonzero(labels.sum(axis=1) != 1)
    if len(wrong):
        raise DataError(
            f"{path}: {names[wrong[0]]!r} has {labels[wrong[0]].sum()} classes, exactly one expected; several are "
            "--task multilabel"
        )
    return np.asarray(labels.argmax(axis=1))


def _from_texts(
    path: Path, rows: list[list[str]], column: int, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    findings = [[part.strip() for part in row[column].split("|") if part.strip()] for row in rows]
    there = sorted({name for names in findings for name in names} - {NO_FINDING})
    if classes is None:
        raise DataError(f"{path}: give --classes in the order of the model's outputs; found {some(there)}")
    unknown = [name for name in there if name not in classes]
    if unknown:
        raise DataError(f"{path}: {unknown[0]!r} is not among the --classes {some(classes)}")
    return tuple(classes), np.array([[int(name in names) for name in classes] for names in findings], np.int64)


def _from_names(
    path: Path, rows: list[list[str]], column: int, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    values = [row[column] for row in rows]
    several = [value for value in values if "|" in value]
    if several:
        raise DataError(f"{path}: {several[0]!r} are several labels, one expected; several are --task multilabel")
    if classes is None and all(value.isdecimal() for value in values):
        highest = max(map(int, values))
        if highest >= MAX_CLASSES:
            raise DataError(f"{path}: class {highest}, below {MAX_CLASSES} expected")
        found = tuple(map(str, range(highest + 1)))
        values = [str(int(value)) for value in values]
    else:
        found = tuple(classes or sorted(set(values)))
    unknown = [value for value in values if value not in found]
    if unknown:
        raise DataError(f"{path}: {unknown[0]!r} is not among the --classes {some(found)}")
    return found, np.array([found.index(value) for value in values], np.int64)


def _stem(name: str) -> str:
    ending = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)]
