from __future__ import annotations

import os
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless

from medadv.data.dicom import read_dicom
from medadv.data.errors import DataError

STORED = np.array([[0, 1, 50, 100], [101, 150, 199, 255]], np.uint8)
CT = np.array([[-32768, -1000, 0, 24], [1023, 1024, 1064, 1224], [1225, 2000, 3000, 32767]], np.int16)


def linear(x: float, center: float, width: float) -> float:
    """The pseudo-code of PS3.3 C.11.2.1.2.1, output 0 to 1."""
    if x <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if x > center - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (center - 0.5)) / (width - 1) + 0.5


def linear_exact(x: float, center: float, width: float) -> float:
    """PS3.3 C.11.2.1.3.2."""
    if x <= center - width / 2:
        return 0.0
    if x > center + width / 2:
        return 1.0
    return (x - center) / width + 0.5


def sigmoid(x: float, center: float, width: float) -> float:
    """PS3.3 C.11.2.1.3.1."""
    exponent = -4 * (x - center) / width
    return 0.0 if exponent > 700 else 1 / (1 + np.exp(exponent))


FUNCTIONS = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}


def expected(stored: np.ndarray, function, slope=1.0, intercept=0.0, invert=False) -> np.ndarray:
    values = [[function(float(v) * slope + intercept) for v in row] for row in stored]
    return 1.0 - np.array(values) if invert else np.array(values)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1024.0), (0.5, 10.0), (-1.0, 1024.0)])
def test_rescale_window_and_inversion(tmp_path, write_dicom, function, photometric, slope, intercept) -> None:
    path = write_dicom(
        tmp_path / "a.dcm",
        CT,
        PhotometricInterpretation=photometric,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=40,
        WindowWidth=400,
        VOILUTFunction=function,
    )
    image = read_dicom(path)
    assert image.dtype == np.float32
    assert image.shape == (1, 3, 4)
    wanted = expected(
        CT, lambda x: FUNCTIONS[function](x, 40, 400), slope, intercept, invert=photometric == "MONOCHROME1"
    )
    np.testing.assert_allclose(image[0], wanted, atol=1e-6)
    assert 0 < np.unique(image).size > 3


def test_without_function_the_window_is_linear_and_the_first(tmp_path, write_dicom) -> None:
    path = write_dicom(tmp_path / "a.dcm", STORED, WindowCenter=[100, 5], WindowWidth=[51, 7])
    np.testing.assert_allclose(read_dicom(path)[0], expected(STORED, lambda x: linear(x, 100, 51)), atol=1e-6)


def test_a_given_window_replaces_the_one_in_the_file(tmp_path, write_dicom) -> None:
    path = write_dicom(
        tmp_path / "a.dcm",
        CT,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=500,
        WindowWidth=9,
        VOILUTFunction="SIGMOID",
    )
    wanted = expected(CT, lambda x: linear_exact(x, 40, 400), 1, -1024)
    np.testing.assert_allclose(read_dicom(path, window=(40, 400))[0], wanted, atol=1e-6)


def test_linear_with_width_one_is_a_threshold(tmp_path, write_dicom) -> None:
    path = write_dicom(tmp_path / "a.dcm", STORED, WindowCenter=101, WindowWidth=1)
    np.testing.assert_array_equal(read_dicom(path)[0], STORED > 100.5)


@pytest.mark.parametrize(("function", "width"), [("LINEAR", 0.5), ("LINEAR", 0), ("LINEAR_EXACT", 0), ("SIGMOID", -1)])
def test_an_unusable_window_is_refused(tmp_path, write_dicom, function, width) -> None:
    path = write_dicom(tmp_path / "a.dcm", STORED, WindowCenter=40, WindowWidth=width, VOILUTFunction=function)
    with pytest.raises(DataError, match=r"a\.dcm: window width .* is not usable; give --window"):
        read_dicom(path)


def test_an_unknown_window_function_is_refused(tmp_path, write_dicom) -> None:
    path = write_dicom(tmp_path / "a.dcm", STORED, WindowCenter=40, WindowWidth=4, VOILUTFunction="CUBIC")
    with pytest.raises(DataError, match="unknown VOI LUT function 'CUBIC'"):
        read_dicom(path)


def test_without_window_the_stored_bits_span_the_range(tmp_path, write_dicom) -> None:
    np.testing.assert_array_equal(read_dicom(write_dicom(tmp_path / "a", STORED))[0], STORED / np.float32(255))
    twelve = np.array([[0, 1, 2048, 4095]], np.uint16)
    path = write_dicom(tmp_path / "b", twelve, BitsStored=12, HighBit=11)
    np.testing.assert_allclose(read_dicom(path)[0], twelve / 4095, atol=1e-7)
    path = write_dicom(tmp_path / "c", CT, RescaleSlope=2, RescaleIntercept=-7)
    np.testing.assert_allclose(read_dicom(path)[0], (CT + 32768.0) / 65535, atol=1e-7)
    path = write_dicom(tmp_path / "d", STORED, RescaleSlope=-3, RescaleIntercept=5)
    np.testing.assert_allclose(read_dicom(path)[0], 1 - STORED / 255, atol=1e-7)


def lookup_table(entries: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def test_a_modality_lut_comes_before_the_window(tmp_path, write_dicom) -> None:
    stored = np.array([[0, 1, 2, 3, 4, 9]], np.uint8)
    item = lookup_table([10, 20, 40, 80], 1, 8)
    item.ModalityLUTType = "US"
    path = write_dicom(tmp_path / "a", stored, ModalityLUTSequence=Sequence([item]), WindowCenter=40.5, WindowWidth=61)
    looked_up = np.array([[10, 10, 20, 40, 80, 80]])
    np.testing.assert_allclose(read_dicom(path)[0], expected(looked_up, lambda x: linear(x, 40.5, 61)), atol=1e-6)


def test_a_voi_lut_goes_to_the_range_of_its_bits(tmp_path, write_dicom) -> None:
    stored = np.array([[0, 1, 2, 3, 4, 9]], np.uint8)
    path = write_dicom(
        tmp_path / "a",
        stored,
        VOILUTSequence=Sequence([lookup_table([0, 100, 900, 1023], 1, 10)]),
        WindowCenter=2,
        WindowWidth=2,
    )
    np.testing.assert_allclose(read_dicom(path)[0], np.array([[0, 0, 100, 900, 1023, 1023]]) / 1023, atol=1e-6)


def test_rgb_has_its_channels_first(tmp_path, write_dicom) -> None:
    colour = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3) * 10
    image = read_dicom(write_dicom(tmp_path / "a", colour))
    np.testing.assert_allclose(image, colour.transpose(2, 0, 1) / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"PixelData": None}, r"no DICOM image in this file \(no PixelData\)"),
        ({"NumberOfFrames": 2, "PixelData": bytes(16)}, "2 frames, one expected"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels, 1 to 67108864 expected"),
        ({"Rows": 0}, "0 x 4 pixels"),
        ({"Rows": 100}, "number of bytes of pixel data is less than expected"),
        ({"RescaleSlope": 0, "RescaleIntercept": 1}, "rescaling maps all values to one"),
        ({"SharedFunctionalGroupsSequence": Sequence([Dataset()])}, "an enhanced"),
        ({"PhotometricInterpretation": "MARTIAN"}, r"a\.dcm: "),
        ({"BitsAllocated": 7}, r"a\.dcm: not a readable DICOM image"),
    ],
)
def test_refusals(tmp_path, write_dicom, tags, sentence) -> None:
    with pytest.raises(DataError, match=sentence):
        read_dicom(write_dicom(tmp_path / "a.dcm", STORED, **tags))


def test_an_encoding_without_decoder_is_named(tmp_path, write_dicom) -> None:
    fragments = pydicom.encaps.encapsulate([bytes(64)])
    path = write_dicom(tmp_path / "a.dcm", STORED, PixelData=fragments)
    dataset = pydicom.dcmread(path)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.save_as(path)
    with pytest.raises(DataError, match="encoded as JPEG-LS Lossless Image Compression, cannot be decoded here"):
        read_dicom(path)


def test_deflated_files_are_read_and_bombs_are_not(tmp_path, write_dicom, monkeypatch) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.zeros((512, 512), np.uint8), syntax=DeflatedExplicitVRLittleEndian)
    assert read_dicom(path).shape == (1, 512, 512)
    monkeypatch.setattr("medadv.data.dicom.MAX_BYTES", 2**17)
    inflated = []
    monkeypatch.setattr(zlib, "decompress", lambda *a, **k: inflated.append(a))
    with pytest.raises(DataError, match="inflates to more than 131072 bytes"):
        read_dicom(path)
    assert not inflated


def test_nested_sequences_end_in_a_sentence(tmp_path, write_dicom) -> None:
    # 0x300A,0x0400 and its like nested 2,000 deep, as bytes: undefined lengths need no sizes.
    path = write_dicom(tmp_path / "a.dcm", STORED)
    nested = b"\x0a\x30\x00\x04SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000
    path.write_bytes(path.read_bytes() + nested)
    with pytest.raises(DataError, match=r"a\.dcm: "):
        read_dicom(path)


def test_every_truncation_is_a_data_error(tmp_path, write_dicom) -> None:
    whole = write_dicom(tmp_path / "a.dcm", CT, WindowCenter=40, WindowWidth=400).read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "b.dcm").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"b\.dcm: "):
            read_dicom(tmp_path / "b.dcm")


def test_flipped_bytes_are_an_image_or_a_data_error(tmp_path, write_dicom) -> None:
    whole = write_dicom(tmp_path / "a.dcm", CT, RescaleSlope=1, RescaleIntercept=-1024).read_bytes()
    draw = np.random.default_rng(0)
    read = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for position in draw.integers(128, len(whole), 2):
            damaged[position] = draw.integers(256)
        (tmp_path / "b.dcm").write_bytes(damaged)
        try:
            image = read_dicom(tmp_path / "b.dcm")
        except DataError:
            continue
        read += 1
        assert np.isfinite(image).all()
        assert 0 <= image.min() <= image.max() <= 1
    assert 0 < read < 400


DICOM_FOLDER = (
    Path(os.environ.get("MEDADV_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
    / "D_volumes"
    / "dicom"
)


@pytest.mark.skipif(not DICOM_FOLDER.is_dir(), reason="no real DICOM files (MEDADV_DATA)")
def test_real_files_give_an_image_or_a_sentence() -> None:
    decoded, refused = 0, []
    for path in sorted(DICOM_FOLDER.rglob("*.dcm")):
        started = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a reader that warns about odd files would drown a report
            try:
                image = read_dicom(path)
            except DataError as error:
                refused.append(str(error))
            else:
                decoded += 1
                assert image.ndim == 3
                assert image.shape[0] in (1, 3)
                assert np.isfinite(image).all()
                assert 0 <= image.min() <= image.max() <= 1
        assert time.monotonic() - started < 10, path
    assert decoded >= 100
    assert all("\n" not in sentence for sentence in refused)


@pytest.mark.skipif(not DICOM_FOLDER.is_dir(), reason="no real DICOM files (MEDADV_DATA)")
def test_a_real_ct_slice_follows_the_standard() -> None:
    path = next(DICOM_FOLDER.rglob("CT_small.dcm"))
    dataset = pydicom.dcmread(path)
    stored = np.frombuffer(dataset.PixelData, "<i2").reshape(dataset.Rows, dataset.Columns)
    wanted = expected(stored, lambda x: linear_exact(x, 40, 400), 1, -1024)
    np.testing.assert_allclose(read_dicom(path, window=(40, 400))[0], wanted, atol=1e-6)
