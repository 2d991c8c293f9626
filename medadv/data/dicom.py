"""DICOM files, through pydicom: from stored values to [0, 1]."""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv._optional import require
from medadv.data.conform import MAX_PIXELS
from medadv.data.errors import DataError, first_line

DICOM_MAGIC = b"DICM"
DICOM_MAGIC_OFFSET = 128
MAX_BYTES = 2**30
GREY = ("MONOCHROME1", "MONOCHROME2")


def read_dicom(path: Path, window: tuple[float, float] | None = None) -> NDArray[np.float32]:
    """Read the one image of a DICOM file.

    Grey images go through the modality LUT or rescale slope and intercept (PS3.3 C.11.1), then to [0, 1] by
    the first of these that is there: the given window (linear between center - width / 2 and center + width /
    2); the VOI LUT; the first window of the file, LINEAR, LINEAR_EXACT or SIGMOID (PS3.3 C.11.2.1); the full
    range of the stored bits after rescaling. MONOCHROME1 is inverted last, so that larger is always brighter.
    Colour (RGB, YBR, palette) becomes RGB over the full range of its bits.

    Args:
        path: the file.
        window: (center, width) in units after rescaling (HU for CT).

    Returns:
        float32 [C, H, W] in [0, 1], C = 1 (grey) or 3 (colour).

    Raises:
        DataError: no image, several frames, a damaged file, an encoding that cannot be decoded, too many
            pixels.
    """
    dataset = open_dicom(path)
    with _as_data_errors(path):
        image = _image(path, dataset, window)
    if not np.isfinite(image).all():
        raise DataError(f"{path}: the values are not finite after rescaling")
    return np.ascontiguousarray(np.clip(image, 0.0, 1.0), np.float32)


def read_dicom_values(path: Path) -> NDArray[np.float64]:
    """Read the one grey image of a DICOM file in units after rescaling, HU for CT.

    Args:
        path: the file.

    Returns:
        [H, W] after the modality LUT, or slope and intercept; no window.

    Raises:
        DataError: what `read_dicom` refuses, colour, or MONOCHROME1.
    """
    return values_of(path, open_dicom(path))


def open_dicom(path: Path) -> Any:
    """The data set of a DICOM file with one image.

    Args:
        path: the file.

    Returns:
        pydicom's data set; pixels are not decoded yet.

    Raises:
        DataError: no image, several frames, a damaged file, too many pixels.
    """
    with _as_data_errors(path):
        dataset = _parse(path)
        _check_header(path, dataset)
    return dataset


def values_of(path: Path, dataset: Any) -> NDArray[np.float64]:
    """As `read_dicom_values`, for a data set that was opened.

    Args:
        path: of the file, for the sentence of an error.
        dataset: of `open_dicom`.

    Returns:
        [H, W].

    Raises:
        DataError: colour, MONOCHROME1, pixels that cannot be decoded.
    """
    photometric = dataset.get("PhotometricInterpretation")
    if photometric != "MONOCHROME2":
        raise DataError(f"{path}: units of the file (--bounds) are for MONOCHROME2, got {photometric}; give --window")
    with _as_data_errors(path):
        stored = _decode(path, dataset)
        return np.asarray(require("pydicom.pixels", extra="medical").apply_modality_lut(stored, dataset), np.float64)


@contextmanager
def _as_data_errors(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, about odd values: what matters is checked here
            yield
    except (DataError, ImportError):
        raise
    except Exception as error:  # whatever pydicom and its decoders raise on a damaged file
        raise DataError(f"{path}: not a readable DICOM image ({first_line(error)})") from None


def _parse(path: Path) -> Any:
    reader = require("pydicom.filereader", extra="medical")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES} bytes")
    data = path.read_bytes()
    _check_deflated(path, data)
    return reader.dcmread(io.BytesIO(data), force=True)


def _check_deflated(path: Path, data: bytes) -> None:
    """Refuse a deflated data set that inflates beyond MAX_BYTES, before pydicom inflates it whole."""
    reader = require("pydicom.filereader", extra="medical")
    uid = require("pydicom.uid", extra="medical")
    stream = io.BytesIO(data)
    reader.read_preamble(stream, force=True)
    meta = reader.read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag >> 16 != 2
    )
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated, packed = 0, stream.read()
    while packed and not inflater.eof:
        inflated += len(inflater.decompress(packed, 2**20))
        packed = inflater.unconsumed_tail
        if inflated > MAX_BYTES:
            raise DataError(f"{path}: inflates to more than {MAX_BYTES} bytes")


def _check_header(path: Path, dataset: Any) -> None:
    if "PixelData" not in dataset:
        raise DataError(f"{path}: no DICOM image in this file (no PixelData)")
    if int(dataset.get("NumberOfFrames", None) or 1) > 1:
        raise DataError(f"{path}: {dataset.NumberOfFrames} frames, one expected; split it into single images")
    if "SharedFunctionalGroupsSequence" in dataset:
        # Rescaling and window stand per frame there, where pydicom does not look.
        raise DataError(f"{path}: an enhanced (multi-frame) object, a classic single-frame image expected")
    height, width = int(dataset.Rows), int(dataset.Columns)
    if not 0 < height * width <= MAX_PIXELS:
        raise DataError(f"{path}: {height} x {width} pixels, 1 to {MAX_PIXELS} expected")


def _image(path: Path, dataset: Any, window: tuple[float, float] | None) -> NDArray[np.float64]:
    pixels = require("pydicom.pixels", extra="medical")
    photometric = dataset.PhotometricInterpretation
    stored = _decode(path, dataset)
    if photometric == "PALETTE COLOR":
        colour = pixels.apply_color_lut(stored, dataset)
        return _channels_first(path, colour / np.iinfo(colour.dtype).max)
    if photometric not in GREY:
        if dataset.PixelRepresentation != 0:
            raise DataError(f"{path}: colour with signed values")
        return _channels_first(path, stored / (2.0**dataset.BitsStored - 1))
    grey = _grey(path, dataset, stored, window)
    return (1.0 - grey if photometric == "MONOCHROME1" else grey)[None]


def _decode(path: Path, dataset: Any) -> NDArray[Any]:
    try:
        return np.asarray(require("pydicom.pixels", extra="medical").pixel_array(dataset))
    except RuntimeError as error:  # no decoder for this encoding, or every decoder failed
        encoding = dataset.file_meta.get("TransferSyntaxUID")
        name = "an unnamed transfer syntax" if encoding is None else encoding.name
        raise DataError(
            f"{path}: the pixels, encoded as {name}, cannot be decoded here ({first_line(error)}); "
            "save it as uncompressed DICOM or as PNG"
        ) from None


def _channels_first(path: Path, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    if colour.ndim != 3 or colour.shape[2] != 3:
        raise DataError(f"{path}: three colour channels expected, got an array {list(colour.shape)}")
    return np.asarray(colour.transpose(2, 0, 1))


def _grey(path: Path, dataset: Any, stored: NDArray[Any], window: tuple[float, float] | None) -> NDArray[np.float64]:
    if stored.ndim != 2:
        raise DataError(f"{path}: one grey channel expected, got an array {list(stored.shape)}")
    pixels = require("pydicom.pixels", extra="medical")
    values = pixels.apply_modality_lut(stored, dataset).astype(np.float64)
    if window is not None:
        return _windowed(path, values, *window, "LINEAR_EXACT")
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return np.asarray(pixels.apply_voi(np.rint(values).astype(np.int64), dataset) / (2.0**bits - 1))
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        center, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
        return _windowed(path, values, center, width, str(dataset.get("VOILUTFunction") or "LINEAR").upper())
    low, high = _full_range(dataset)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DataError(f"{path}: rescaling maps all values to one (slope {dataset.get('RescaleSlope')})")
    return np.asarray((values - low) / (high - low))


def _first(value: Any) -> float:
    return float(value if isinstance(value, (int, float, str)) else value[0])


def _windowed(
    path: Path, values: NDArray[np.float64], center: float, width: float, function: str
) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3 (SIGMOID, LINEAR_EXACT), with output from 0 to 1.

    pydicom has the same formulas, but its output range follows the stored bits and turns round for a negative
    slope.
    """
    smallest = 1.0 if function == "LINEAR" else 0.0
    if not (math.isfinite(center) and math.isfinite(width) and width >= smallest and width > 0):
        raise DataError(f"{path}: window width {width:g} at center {center:g} is not usable; give --window")
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-4.0 * (values - center) / width)))
    if function not in ("LINEAR", "LINEAR_EXACT"):
        raise DataError(f"{path}: unknown VOI LUT function {function!r}; give --window")
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if width == 0:
        return (values > center).astype(np.float64)
    return np.asarray(np.clip((values - center) / width + 0.5, 0.0, 1.0))


def _full_range(dataset: Any) -> tuple[float, float]:
    if dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(dataset.BitsStored)
    lowest = -(2.0 ** (bits - 1)) if dataset.PixelRepresentation else 0.0
    ends = [lowest, lowest + 2.0**bits - 1]
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        ends = [float(dataset.RescaleSlope) * end + float(dataset.RescaleIntercept) for end in ends]
    return min(ends), max(ends)
