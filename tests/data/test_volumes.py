"""Volumes of .npz files and DICOM series, and images in units of their own."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medadv.data import DataError, read_images
from medadv.data.conform import conform
from medadv.data.dicom_series import read_dicom_series


def save(path, images, labels=(0, 1), **more):
    np.savez(path / "a.npz", test_images=images, test_labels=np.array(labels), **more)
    return path / "a.npz"


def test_volumes_of_medmnist(tmp_path) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    found = read_images(save(tmp_path, values))
    np.testing.assert_array_equal(found.images, values[:, None] / np.float32(255))


def test_volumes_with_channels(tmp_path) -> None:
    values = np.linspace(0, 1, 2 * 2 * 3 * 4 * 5).reshape(2, 2, 3, 4, 5)
    found = read_images(save(tmp_path, values))
    np.testing.assert_array_equal(found.images, values.astype(np.float32))
    with pytest.raises(DataError, match="a volume of 2 channels, which cannot be made into 1"):
        read_images(save(tmp_path, values), channels=1)


@pytest.mark.parametrize("dtype", [np.int16, np.float64, np.uint8])
def test_bounds_keep_the_units(tmp_path, dtype) -> None:
    values = (np.arange(2 * 4 * 5).reshape(2, 4, 5) * 3).astype(dtype)
    found = read_images(save(tmp_path, values), bounds=(-10, 200))
    np.testing.assert_array_equal(found.images[:, 0], values.astype(np.float32))
    assert found.bounds == (-10.0, 200.0)
    with pytest.raises(DataError, match="a.npz: test_images: values from 60 to 117 lie outside --bounds 0 100"):
        read_images(save(tmp_path, values[::-1]), bounds=(0, 100))


def test_several_findings(tmp_path) -> None:
    values = np.zeros((2, 4, 4), np.uint8)
    found = read_images(save(tmp_path, values, [[0, 1, 1], [0, 0, 0]]), several=True, classes=("a", "b", "c"))
    assert found.labels.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert found.class_names == ("a", "b", "c")
    assert read_images(save(tmp_path, values, [[0, 1], [0, 0]]), several=True).class_names == ("0", "1")
    for labels, words in (([0, 1], r"must be \[2, findings\]"), ([[0, 2], [0, 1]], "must be 0 or 1 for each finding")):
        with pytest.raises(DataError, match=words):
            read_images(save(tmp_path, values, labels), several=True)
    with pytest.raises(DataError, match="2 names expected with --classes, got 3"):
        read_images(save(tmp_path, values, [[0, 1], [0, 0]]), several=True, classes=("a", "b", "c"))


def test_limit_is_spread(tmp_path) -> None:
    found = read_images(save(tmp_path, np.zeros((6, 4, 4), np.uint8), [0, 0, 1, 1, 2, 2]), limit=3)
    assert found.names == ("0", "2", "4")
    assert found.class_names == ("0", "1", "2")


def test_what_npz_does_not_have(tmp_path) -> None:
    path = save(tmp_path, np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(DataError, match="an --orientation applies to NIfTI files"):
        read_images(path, orientation="RAS")
    with pytest.raises(DataError, match="an .npz file has its labels inside"):
        read_images(path, labels="labels.csv")


def test_resizing_a_volume_is_resizing_along_each_axis() -> None:
    volume = np.random.default_rng(0).random((1, 7, 9, 11), np.float32)
    found = conform(volume, (4, 12, 6), None)[0]
    # Along one axis after the other, with Pillow on single lines.
    expected = volume[0]
    for axis, length in ((0, 4), (1, 12), (2, 6)):
        lines = np.moveaxis(expected, axis, -1)
        flat = lines.reshape(-1, lines.shape[-1])
        resized = [
            np.asarray(Image.fromarray(line[None]).resize((length, 1), Image.Resampling.BILINEAR)) for line in flat
        ]
        expected = np.moveaxis(np.array(resized).reshape(*lines.shape[:-1], length), -1, axis)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_resizing_keeps_other_bounds() -> None:
    volume = np.full((1, 5, 6, 7), 3071.0, np.float32)
    assert conform(volume, (9, 4, 5), None, (-1024.0, 3071.0)).max() <= 3071.0


# DICOM


SLICE = np.arange(20, dtype=np.int16).reshape(4, 5)


def series(place, write_dicom, numbers=range(4), **tags):
    """Slices along -z, file names in an order of their own."""
    for number in numbers:
        own = {name: values(number) if callable(values) else values for name, values in tags.items()}
        given = {
            "RescaleSlope": 2,
            "RescaleIntercept": -1024,
            "SeriesInstanceUID": "1.2.3",
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0, 0, -2.5 * number],
            **own,
        }
        write_dicom(place / f"{(number * 7) % 11}.dcm", SLICE + 100 * number, **given)
    return place


def test_slices_come_in_the_order_of_their_places(tmp_path, write_dicom) -> None:
    volume = read_dicom_series(series(tmp_path / "s", write_dicom))
    expected = np.stack([2.0 * (SLICE + 100 * number) - 1024 for number in (3, 2, 1, 0)])
    np.testing.assert_array_equal(volume[0], expected)


def test_a_folder_of_series_is_a_set_of_volumes(tmp_path, write_dicom) -> None:
    for name in ("a/one", "a/two", "b/one"):
        series(tmp_path / name, write_dicom)
    found = read_images(tmp_path, bounds=(-1024, 3071))
    assert found.images.shape == (3, 1, 4, 4, 5)
    assert found.names == ("a/one", "a/two", "b/one")
    with pytest.raises(DataError, match="read as a DICOM series, which needs a range"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "tags", "words"),
    [
        ([0], {}, "at least 2 slices expected, got 1"),
        ([0, 1, 3, 4], {}, "5 mm after .* and 2.5 mm elsewhere: is a slice missing"),
        ([0, 1], {"ImagePositionPatient": [0, 0, 0]}, "are at one place"),
        ([0, 1], {"SeriesInstanceUID": lambda number: f"1.{number}"}, "several series, one expected"),
        ([0, 1], {"ImageOrientationPatient": lambda number: [1, 0, 0, 0, 1 - number, number]}, "another direction"),
        ([0, 1], {"ImagePositionPatient": None}, "no position and direction"),
        ([0, 1], {"PhotometricInterpretation": "MONOCHROME1"}, "are for MONOCHROME2, got MONOCHROME1"),
    ],
)
def test_wrong_series(tmp_path, write_dicom, numbers, tags, words) -> None:
    place = tmp_path / "s"
    tags = {name: value for name, value in tags.items() if value is not None} | (
        {} if None not in tags.values() else {"ImagePositionPatient": []}
    )
    with pytest.raises(DataError, match=words):
        read_dicom_series(series(place, write_dicom, numbers, **tags))


def test_single_dicom_files_in_units(tmp_path, write_dicom) -> None:
    for name in ("a/1.dcm", "b/1.dcm"):
        write_dicom(tmp_path / name, SLICE, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=0, WindowWidth=10)
    found = read_images(tmp_path, bounds=(-1024, 3071))
    np.testing.assert_array_equal(found.images[0, 0], 2.0 * SLICE - 1024)


def test_bounds_are_not_for_png(tmp_path, write_png) -> None:
    for name in ("a/1.png", "b/1.png"):
        write_png(tmp_path / name, np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="bounds .--bounds. apply to DICOM, NIfTI and .npz"):
        read_images(tmp_path, bounds=(0, 255))


def test_more_than_the_memory_is_refused_before_reading(tmp_path, write_png, monkeypatch) -> None:
    for name in ("a/1.png", "b/1.png"):
        write_png(tmp_path / name, np.zeros((64, 64), np.uint8))
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4}[name])
    with pytest.raises(DataError, match=r"the images need 0\.0 GiB of memory and the machine has 0\.0"):
        read_images(tmp_path)
