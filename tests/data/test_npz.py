from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from medadv.data import DataError, read_images

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([[0], [2], [1]], np.uint8)


def save(path, images=IMAGES, labels=LABELS, **more):
    np.savez_compressed(path / "a.npz", test_images=images, test_labels=labels, **more)
    return path / "a.npz"


def test_the_medmnist_layout(tmp_path) -> None:
    images = read_images(save(tmp_path))
    np.testing.assert_array_equal(images.images, IMAGES[:, None] / np.float32(255))
    assert images.labels.tolist() == [0, 2, 1]
    assert images.names == ("0", "1", "2")
    assert images.class_names == ("0", "1", "2")


def test_colour_has_its_channels_moved(tmp_path) -> None:
    colour = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
    images = read_images(save(tmp_path, colour))
    np.testing.assert_array_equal(images.images, colour.transpose(0, 3, 1, 2) / np.float32(255))


def test_floats_and_flat_labels(tmp_path) -> None:
    values = np.linspace(0, 1, 60).reshape(3, 4, 5)
    images = read_images(save(tmp_path, values, np.array([0, 1, 1])))
    np.testing.assert_array_equal(images.images[:, 0], values.astype(np.float32))
    assert images.class_names == ("0", "1")


def test_split_size_and_channels(tmp_path) -> None:
    path = save(tmp_path, train_images=IMAGES[:2], train_labels=np.array([1, 0]))
    images = read_images(path, split="train", size=(2, 2), channels=3)
    assert images.images.shape == (2, 3, 2, 2)
    assert images.labels.tolist() == [1, 0]


def test_a_missing_split_lists_what_is_there(tmp_path) -> None:
    with pytest.raises(DataError, match="no array 'val_images', found test_images, test_labels; choose another split"):
        read_images(save(tmp_path), split="val")


def test_arrays_of_other_names(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES, y=LABELS)
    with pytest.raises(
        DataError, match="found x, y; images and labels must be named as in 'test_images', 'test_labels'"
    ):
        read_images(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (np.zeros((2, 8), np.uint8), np.array([0, 1]), r"must be \[N, H, W\]"),
        (np.zeros((0, 8, 8), np.uint8), np.zeros(0, np.int64), "with N > 0, got"),
        (np.zeros((2, 4, 4), np.uint16), np.array([0, 1]), "must be uint8, or float in"),
        (np.full((2, 4, 4), np.nan), np.array([0, 1]), "test_images: values that are NaN"),
        (np.full((2, 4, 4), 1.5), np.array([0, 1]), r"from 1.5 to 1.5 are not in \[0, 1\]; give --bounds"),
        (np.full((2, 4, 4), -1.0), np.array([0, 1]), "from -1 to -1 are not in"),
        (np.zeros((2, 4, 4), np.uint8), np.array([0, 1, 1]), r"test_labels must be \[2\] or \[2, 1\], got \[3\]"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 14), np.uint8), "14 labels per image"),
        (np.zeros((2, 4, 4), np.uint8), np.array([0.0, 1.0]), "must be whole numbers, got float64"),
        (np.zeros((2, 4, 4), np.uint8), np.array([-1, 1]), "must be 0 or above, got -1"),
        (np.zeros((2, 4, 4), np.uint8), np.array([0, 2**63], np.uint64), "must be below 65536"),
        (np.zeros((2, 4, 4), np.uint8), np.array([1, 1]), "only one class, 1"),
        (np.zeros((2, 4, 4), object), np.array([0, 1]), "test_images holds Python objects"),
    ],
)
def test_wrong_arrays(tmp_path, images, labels, sentence) -> None:
    with pytest.raises(DataError, match=sentence):
        read_images(save(tmp_path, images, labels))


def test_an_object_array_runs_no_code(tmp_path) -> None:
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "marker"), "w"))

    labels = np.array([Payload(), Payload(), Payload()])
    with pytest.raises(DataError, match="Python objects"):
        read_images(save(tmp_path, labels=labels))
    assert not (tmp_path / "marker").exists()


def member(shape: str, body: bytes = b"") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": eval(shape)})
    return stream.getvalue() + body


def test_a_header_that_promises_more_than_the_archive_holds(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("test_images.npy", member("(1000000, 4096, 4096)", b"12"))
        archive.writestr("test_labels.npy", member("(2,)", b"\0\1"))
    with pytest.raises(DataError, match="test_images declares 16777216000128 bytes but the archive holds 130"):
        read_images(tmp_path / "a.npz")


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("medadv.data.npz.FREE_BYTES", 2**16)
    with pytest.raises(DataError, match="test_images would unpack"):
        read_images(save(tmp_path, np.zeros((2, 1024, 1024), np.uint8), np.array([0, 1])))
    noise = np.random.default_rng(0).integers(0, 256, (2, 512, 512), dtype=np.uint8)
    assert len(read_images(save(tmp_path, noise, np.array([0, 1])))) == 2


def test_damage_is_a_data_error(tmp_path) -> None:
    whole = save(tmp_path).read_bytes()
    for length in range(0, len(whole), 23):
        (tmp_path / "b.npz").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"b\.npz: "):
            read_images(tmp_path / "b.npz")
    images_start = whole.index(b"test_images.npy") + 60
    (tmp_path / "b.npz").write_bytes(whole[:images_start] + b"\xff\xff" + whole[images_start + 2 :])
    with pytest.raises(DataError, match=r"b\.npz: "):
        read_images(tmp_path / "b.npz")
