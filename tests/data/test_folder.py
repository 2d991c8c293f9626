from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medadv.data import DataError, read_images


def grey(value: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


@pytest.fixture
def folder(tmp_path, write_png):
    for name, value in (("sick/b", 3), ("sick/a", 2), ("healthy/z", 1)):
        write_png(tmp_path / f"{name}.png", grey(value))
    return tmp_path


def test_classes_and_files_are_sorted_by_name(folder) -> None:
    images = read_images(folder)
    assert images.class_names == ("healthy", "sick")
    assert images.names == ("healthy/z.png", "sick/a.png", "sick/b.png")
    assert images.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(images.images[:, 0, 0, 0], np.array([1, 2, 3], np.uint8) / np.float32(255))
    assert images.images.shape == (3, 1, 6, 8)


def test_classes_are_named_in_the_order_of_the_model(folder) -> None:
    images = read_images(folder, classes=("sick", "healthy"))
    assert images.class_names == ("sick", "healthy")
    assert images.names == ("sick/a.png", "sick/b.png", "healthy/z.png")
    assert images.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(images.images[:, 0, 0, 0], np.array([2, 3, 1], np.uint8) / np.float32(255))
    assert read_images(folder, classes=("sick", "healthy"), limit=1).names == ("sick/a.png",)
    assert read_images(folder, classes=("healthy", "sick")).sha256 == read_images(folder).sha256


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (("healthy", "ill"), "'sick' is not among the --classes healthy, ill"),
        (("sick",), "'healthy' is not among the --classes sick"),
        (("sick", "healthy", "unsure"), "no folder of the class 'unsure', which --classes names"),
        (("sick", "healthy", ".cache"), "no folder of the class '.cache', which --classes names"),
    ],
)
def test_folders_and_named_classes_are_the_same(folder, classes, sentence) -> None:
    (folder / ".cache").mkdir()
    with pytest.raises(DataError) as refused:
        read_images(folder, classes=classes)
    assert str(refused.value) == f"{folder}: {sentence}"


def test_a_class_named_twice(folder) -> None:
    with pytest.raises(DataError, match="class_names must be unique, but 'sick' is there more than once"):
        read_images(folder, classes=("sick", "healthy", "sick"))


def test_hidden_files_are_left_out(folder) -> None:
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "sick" / ".thumb").write_bytes(b"x")
    (folder / ".cache").mkdir()
    assert len(read_images(folder)) == 3


def test_png_jpeg_and_dicom_mix_with_and_without_extension(folder, write_dicom) -> None:
    Image.fromarray(grey(255)).save(folder / "sick" / "c.jpg")
    write_dicom(folder / "sick" / "d.dcm", grey(255))
    write_dicom(folder / "sick" / "e", grey(255))
    images = read_images(folder)
    assert images.names[3:] == ("sick/c.jpg", "sick/d.dcm", "sick/e")
    assert (images.images[3:] == 1.0).all()


def test_mixed_sizes_name_two_files_and_the_option(folder, write_png) -> None:
    write_png(folder / "sick" / "c.png", grey(9, 5, 7))
    with pytest.raises(DataError, match=r"healthy/z\.png is 6 x 8, .*sick/c\.png is 5 x 7; give --size H W"):
        read_images(folder)
    assert read_images(folder, size=(4, 4)).images.shape == (4, 1, 4, 4)


def test_mixed_channels_name_two_files_and_the_option(folder, write_png) -> None:
    write_png(folder / "sick" / "c.png", np.repeat(grey(9)[..., None], 3, 2))
    with pytest.raises(DataError, match=r"z\.png is grey, .*c\.png is colour; give --channels 1"):
        read_images(folder)
    assert read_images(folder, channels=1).images.shape[1] == 1
    assert read_images(folder, channels=3).images.shape[1] == 3


def test_a_foreign_file_is_named(folder) -> None:
    (folder / "sick" / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"sick/notes\.txt: neither a PNG, a JPEG, a DICOM nor a NIfTI file"):
        read_images(folder)


def test_a_file_beside_the_classes_is_named(folder, write_png) -> None:
    write_png(folder / "stray.png", grey(1))
    with pytest.raises(DataError, match=r"stray\.png: a file beside the class folders"):
        read_images(folder)


def test_a_folder_inside_a_class_is_named(folder) -> None:
    (folder / "sick" / "series").mkdir()
    with pytest.raises(DataError, match="sick/series: a folder of images is read as a DICOM series"):
        read_images(folder)


def test_an_empty_folder(tmp_path) -> None:
    with pytest.raises(DataError, match="the folder is empty"):
        read_images(tmp_path)


def test_one_class_only(tmp_path, write_png) -> None:
    write_png(tmp_path / "only" / "a.png", grey(1))
    with pytest.raises(DataError, match="only one class, 'only'"):
        read_images(tmp_path)


def test_an_empty_class(folder) -> None:
    (folder / "unknown").mkdir()
    with pytest.raises(DataError, match="unknown: the class folder is empty"):
        read_images(folder)


def test_a_window_needs_dicom(folder) -> None:
    with pytest.raises(DataError, match="applies to DICOM and NIfTI files"):
        read_images(folder, window=(40, 400))


def test_a_window_reaches_dicom(tmp_path, write_dicom) -> None:
    for name in ("a/1.dcm", "b/1.dcm"):
        write_dicom(tmp_path / name, grey(100))
    images = read_images(tmp_path, window=(110, 40))
    np.testing.assert_allclose(images.images, 0.25, atol=1e-7)
