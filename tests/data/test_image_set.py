from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medadv.data import DataError, ImageSet


def image_set(**changes: object) -> ImageSet:
    fields = {
        "images": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 1, 3, 4),
        "labels": np.array([0, 1]),
        "names": ("a", "b"),
        "class_names": ("no", "yes"),
    }
    return ImageSet(**{**fields, **changes})


def test_it_has_a_length_and_is_frozen() -> None:
    images = image_set()
    assert len(images) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        images.labels = np.array([1, 0])


def test_the_hash_is_repeatable_and_independent_of_memory_layout() -> None:
    plain = image_set()
    strided = np.zeros((2, 1, 3, 8), np.float32)[..., ::2]
    strided[...] = plain.images
    assert image_set().sha256 == plain.sha256 == image_set(images=strided).sha256
    assert len(plain.sha256) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 1, 4, 3)},
        {"images": np.linspace(0, 0.999, 24, dtype=np.float32).reshape(2, 1, 3, 4)},
        {"labels": np.array([1, 0])},
        {"names": ("a", "c")},
        {"names": ("b", "a")},
        {"class_names": ("no", "maybe")},
        {"labels": np.array([[0, 1], [0, 1]])},
        {"bounds": (-1.0, 1.0)},
    ],
)
def test_the_hash_changes_with_every_field(change) -> None:
    assert image_set(**change).sha256 != image_set().sha256


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": np.zeros((2, 1, 3, 4))}, "images must be float32"),
        (
            {"images": np.zeros((2, 3, 4), np.float32)},
            r"images must be float32 \[N, C, H, W\] or \[N, C, D, H, W\], got float32 \[2, 3, 4\]",
        ),
        ({"images": np.full((2, 1, 3, 4), np.nan, np.float32)}, "must be finite"),
        ({"images": np.full((2, 1, 3, 4), 1.01, np.float32)}, r"in \[0, 1\], got 1.0"),
        ({"images": np.full((2, 1, 3, 4), -0.01, np.float32)}, r"in \[0, 1\], got -0.0"),
        ({"labels": np.array([0, 1], np.int32)}, r"labels must be int64 \[2\], or \[2, 2\] for findings, got int32"),
        ({"labels": np.array([0])}, r"labels must be int64 \[2\], or \[2, 2\] for findings, got int64 \[1\]"),
        ({"labels": np.array([0, 2])}, r"labels must lie in \[0, 1\] for 2 class names, got 0 to 2"),
        ({"labels": np.array([-1, 0])}, "got -1 to 0"),
        ({"labels": np.zeros((2, 3), np.int64)}, r"for findings, got int64 \[2, 3\]"),
        ({"labels": np.array([[0, 1], [2, 0]])}, r"labels must lie in \[0, 1\] for findings, got 0 to 2"),
        ({"images": np.zeros((2, 1, 3, 4), np.float32), "bounds": (0.5, 1.0)}, r"in \[0.5, 1\], got 0.0"),
        ({"names": ("a",)}, r"one name per image \(2\), got 1"),
        ({"names": ("a", "a")}, "names must be unique, but 'a'"),
        ({"class_names": ("no", "no")}, "class_names must be unique, but 'no'"),
    ],
)
def test_wrong_fields_are_refused(change, sentence) -> None:
    with pytest.raises(DataError, match=sentence):
        image_set(**change)


def test_findings_volumes_and_other_units_are_allowed() -> None:
    volumes = np.linspace(-1024, 3071, 2 * 60, dtype=np.float32).reshape(2, 1, 3, 4, 5)
    images = image_set(images=volumes, labels=np.array([[0, 1], [0, 0]]), bounds=(-1024, 3071))
    assert images.bounds == (-1024.0, 3071.0)
    assert len(images) == 2


def test_rows_are_a_set_of_their_own() -> None:
    images = image_set()
    last = images.rows(np.array([1]))
    assert (last.names, last.labels.tolist(), last.class_names) == (("b",), [1], ("no", "yes"))
    np.testing.assert_array_equal(last.images, images.images[1:])
    assert images.rows(slice(0, 1)).names == ("a",)
