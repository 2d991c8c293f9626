"""The image sets of the studies, each cut into training and test images of different patients."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medadv._optional import require
from medadv.data import DataError, ImageSet, chest_phantoms
from medadv.data.conform import conform

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Split:
    """Training and test images, no patient in both."""

    training: ImageSet
    test: ImageSet


@dataclass(frozen=True)
class Phantoms:
    """Generated chest films, every film another patient.

    Args:
        name: how results call it.
        size: height and width in pixels.
        training, test: numbers of images.
        epochs: how long networks are trained.
        seed: of the films.
    """

    name: str
    size: int
    training: int
    test: int
    epochs: int
    seed: int = 0

    def read(self, data: Path | None) -> Split:
        """The films; `data` plays no part."""
        training, test = ((self.training, self.seed), (self.test, self.seed + 1))
        return Split(*(chest_phantoms(count, self.size, seed) for count, seed in (training, test)))


@dataclass(frozen=True)
class Pack:
    """Grey images of a pack: an .npz of PNG files with labels and patients.

    Args:
        name: how results call it.
        path: below the folder of the data.
        size: height and width to which images are resized, in pixels.
        classes: name of each class, and the labels of the pack that it gathers.
        test_share: part of the patients whose images are held out, above 0 and below 1. A hash of the patient decides;
            of the image where the pack knows no patients.
        epochs: how long networks are trained.
    """

    name: str
    path: str
    size: int
    classes: tuple[tuple[str, tuple[int, ...]], ...]
    test_share: float
    epochs: int

    def read(self, data: Path | None) -> Split:
        """The images.

        Args:
            data: the folder of the packs.

        Returns:
            Both parts.

        Raises:
            DataError: no folder, or no such pack in it.
        """
        if data is None or not (data / self.path).is_file():
            raise DataError(f"data must be a folder that holds {self.path}, got {data}")
        with np.load(data / self.path, allow_pickle=False) as archive:
            packed, offsets = archive["png"], archive["png_offset"]
            labels, patients, ids = archive["m_label"], archive["m_patient"], archive["m_id"]
        images = np.stack([self._image(packed[a:b].tobytes()) for a, b in pairwise(offsets)])
        known = [str(id_ if patient == UNKNOWN else patient) for id_, patient in zip(ids, patients, strict=True)]
        test = np.array([_share(patient) < self.test_share for patient in known])
        names = np.array([str(name) for name in ids])
        return Split(*(self._part(images, labels, names, rows) for rows in (~test, test)))

    def _image(self, png: bytes) -> NDArray[np.float32]:
        picture = require("PIL.Image", extra="lab").open(io.BytesIO(png))
        grey = np.asarray(picture, np.float32)[None] / np.float32(255)
        return conform(grey, (self.size, self.size), channels=1)

    def _part(
        self, images: NDArray[np.float32], labels: NDArray[np.int64], names: NDArray[np.str_], rows: NDArray[np.bool_]
    ) -> ImageSet:
        class_of = {label: index for index, (_, members) in enumerate(self.classes) for label in members}
        chosen = np.array([class_of[int(label)] for label in labels[rows]], np.int64)
        return ImageSet(images[rows], chosen, tuple(names[rows]), tuple(name for name, _ in self.classes))


ImageSource = Phantoms | Pack

KERMANY = Pack(
    "child chest X-ray",
    "A_cxr/kermany3.npz",
    size=96,
    classes=(("normal", (0,)), ("pneumonia", (1, 2))),
    test_share=0.25,
    epochs=12,
)
SHENZHEN = Pack(
    "tuberculosis X-ray",
    "B_seg/lungs_shenzhen.npz",
    size=96,
    classes=(("normal", (0,)), ("tuberculosis", (1,))),
    test_share=0.45,
    epochs=40,
)
MEDNIST = Pack(
    "MedNIST",
    "C_other/mednist6_64px.npz",
    size=64,
    classes=tuple((name, (label,)) for label, name in enumerate(("CT", "MR", "chest CT", "X-ray", "hand", "head CT"))),
    test_share=0.15,
    epochs=8,
)


def _share(patient: str) -> float:
    """A number from 0 to 1 that a patient keeps."""
    return int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32
