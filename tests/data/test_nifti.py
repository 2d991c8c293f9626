from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from medadv.data import DataError, read_images
from medadv.data.nifti import read_nifti

VALUES = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) * 10 - 300


def write(path, values=VALUES, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    image.to_filename(path)
    return path


def folder(tmp_path, values=VALUES, suffix=".nii.gz"):
    for name in ("a", "b"):
        for number in range(2):
            write(tmp_path / "set" / name / f"{number}{suffix}", values + number)
    return tmp_path / "set"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_as_they_are_stored(tmp_path, suffix) -> None:
    volume = read_nifti(write(tmp_path / f"v{suffix}"))
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume, VALUES[None])


def test_slope_and_intercept_count(tmp_path) -> None:
    path = tmp_path / "v.nii"
    image = nibabel.Nifti1Image(VALUES, np.eye(4))
    image.header.set_slope_inter(2.0, -1000.0)
    image.to_filename(path)
    stored = np.asarray(nibabel.load(path).dataobj.get_unscaled())
    np.testing.assert_allclose(read_nifti(path)[0], 2.0 * stored - 1000.0, atol=1e-3)


def test_orientation_exchanges_and_turns_axes(tmp_path) -> None:
    # Stored: first axis to the left, second up, third to the back.
    affine = np.array([[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    path = write(tmp_path / "v.nii", affine=affine)
    np.testing.assert_array_equal(read_nifti(path, "LSP")[0], VALUES)
    np.testing.assert_array_equal(read_nifti(path, "RAS")[0], VALUES[::-1, :, ::-1].transpose(0, 2, 1))
    np.testing.assert_array_equal(read_nifti(path, "SPL")[0], VALUES.transpose(1, 2, 0))


def test_a_fourth_axis_is_the_channels(tmp_path) -> None:
    values = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    volume = read_nifti(write(tmp_path / "v.nii", values))
    assert volume.shape == (2, 2, 3, 4)
    np.testing.assert_array_equal(volume[1], values[..., 1])


def test_a_folder_in_hounsfield_units(tmp_path) -> None:
    found = read_images(folder(tmp_path), bounds=(-1024, 3071))
    assert found.bounds == (-1024.0, 3071.0)
    assert found.images.shape == (4, 1, 3, 4, 5)
    assert found.names == ("a/0.nii.gz", "a/1.nii.gz", "b/0.nii.gz", "b/1.nii.gz")
    np.testing.assert_array_equal(found.images[1, 0], VALUES + 1)


def test_a_window_becomes_zero_to_one(tmp_path) -> None:
    found = read_images(folder(tmp_path), window=(0, 400))
    expected = np.clip((VALUES + 200) / 400, 0, 1)
    np.testing.assert_allclose(found.images[0, 0], expected, atol=1e-6)
    assert found.bounds == (0.0, 1.0)


def test_units_need_a_range_and_are_not_cut_off_in_silence(tmp_path) -> None:
    place = folder(tmp_path)
    with pytest.raises(DataError, match=r"0\.nii\.gz: values from -300 to 290 are not in \[0, 1\]; give --bounds"):
        read_images(place)
    with pytest.raises(DataError, match="lie outside --bounds -200 200; give wider ones, or --clip"):
        read_images(place, bounds=(-200, 200))
    clipped = read_images(place, bounds=(-200, 200), clip=True)
    np.testing.assert_array_equal(clipped.images[0, 0], np.clip(VALUES, -200, 200))


def test_size_of_volumes(tmp_path) -> None:
    found = read_images(folder(tmp_path), bounds=(-1024, 3071), size=(6, 8, 10), channels=3)
    assert found.images.shape == (4, 3, 6, 8, 10)
    with pytest.raises(DataError, match="a volume, for which --size takes 3 numbers, D H W"):
        read_images(folder(tmp_path), bounds=(-1024, 3071), size=(6, 8))


def test_limit_reads_no_more_than_it_keeps(tmp_path) -> None:
    place = folder(tmp_path)
    (place / "b" / "1.nii.gz").write_bytes(b"damaged")
    found = read_images(place, bounds=(-1024, 3071), limit=2)
    assert found.names == ("a/0.nii.gz", "b/0.nii.gz")
    with pytest.raises(DataError, match=r"b/1\.nii\.gz: not a readable NIfTI volume"):
        read_images(place, bounds=(-1024, 3071))


def test_mixed_sizes_are_named(tmp_path) -> None:
    place = folder(tmp_path)
    write(place / "b" / "1.nii.gz", VALUES[:2])
    with pytest.raises(DataError, match="3 x 4 x 5, .* is 2 x 4 x 5; give --size D H W"):
        read_images(place, bounds=(-1024, 3071))


def test_not_a_number_is_refused(tmp_path) -> None:
    values = np.zeros((2, 2, 2), np.float32)
    values[1, 1, 1] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        read_images(folder(tmp_path, values), bounds=(0, 1))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((2, 3), np.int16), r"\[D, H, W, C\] expected, got \[2, 3\]"),
        (np.zeros((2, 3, 4, 1, 2), np.int16), "expected, got"),
        (np.zeros((2, 2, 2), np.complex64), "real numbers expected, got complex64"),
    ],
)
def test_other_contents_are_refused(tmp_path, values, words) -> None:
    with pytest.raises(DataError, match=words):
        read_nifti(write(tmp_path / "v.nii", values))


def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory(tmp_path) -> None:
    raw = bytearray(write(tmp_path / "v.nii", np.zeros((2, 2, 2), np.int16)).read_bytes())
    raw[42:48] = np.array([700, 700, 700], "<i2").tobytes()
    (tmp_path / "big.nii").write_bytes(raw)
    with pytest.raises(DataError, match="declares 343000000 voxels, more than the file can hold"):
        read_nifti(tmp_path / "big.nii")
    (tmp_path / "big.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(DataError, match="more than the file can hold"):
        read_nifti(tmp_path / "big.nii.gz")
    raw[42:48] = np.array([32767, 32767, 32767], "<i2").tobytes()
    (tmp_path / "huge.nii").write_bytes(raw)
    with pytest.raises(DataError, match="is more than 536870912 voxels"):
        read_nifti(tmp_path / "huge.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_damage_is_a_data_error(tmp_path, suffix) -> None:
    whole = write(tmp_path / f"v{suffix}").read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 12)):
        (tmp_path / f"cut{suffix}").write_bytes(whole[:length])
        with pytest.raises(DataError, match="cut"):
            read_nifti(tmp_path / f"cut{suffix}")
