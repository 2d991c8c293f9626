from __future__ import annotations

import numpy as np
import pytest

from medadv.data import DataError, read_images
from medadv.data.labels import read_labels

FINDINGS = ("Mass", "Effusion", "Hernia")
# As ChestX-ray14 has it: "A|B" in one column among others, and one empty cell more at the end of the header.
CHEST_XRAY14 = """Image Index,Finding Labels,Follow-up #,Patient Age,
00000001_000.png,Effusion|Mass,0,57
00000001_001.png,No Finding,1,58
00000002_000.png,Hernia,0,80
"""
CHEXPERT = """Path,Sex,Mass,Effusion
valid/patient1/view1.jpg,Female,1.0,0.0
valid/patient2/view1.jpg,Male,0.0,1.0
"""


def table(tmp_path, text, classes=None, several=True):
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    return read_labels(tmp_path / "labels.csv", classes, several)


def test_findings_in_one_column(tmp_path) -> None:
    found = table(tmp_path, CHEST_XRAY14, FINDINGS)
    assert found.class_names == FINDINGS
    names = ["00000002_000.png", "deep/00000001_000.png", "00000001_001.png"]
    assert found.of(names).tolist() == [[0, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_the_order_of_findings_is_not_guessed(tmp_path) -> None:
    with pytest.raises(
        DataError, match="give --classes in the order of the model's outputs; found Effusion, Hernia, Mass"
    ):
        table(tmp_path, CHEST_XRAY14)
    with pytest.raises(DataError, match="'Hernia' is not among the --classes Effusion, Mass"):
        table(tmp_path, CHEST_XRAY14, ("Effusion", "Mass"))


def test_findings_in_columns(tmp_path) -> None:
    found = table(tmp_path, CHEXPERT, ("Effusion", "Mass"))
    assert found.of(["valid/patient1/view1.jpg"]).tolist() == [[0, 1]]
    plain = table(tmp_path, "image,Mass,Effusion\na,0,1\nb,1,1\n")
    assert plain.class_names == ("Mass", "Effusion")
    assert plain.of(["b.nii.gz", "sub/a.png"]).tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("cell", ["", "-1.0", "yes", "2"])
def test_uncertain_and_blank_entries_are_not_decided(tmp_path, cell) -> None:
    with pytest.raises(DataError, match=f"row 3 has '{cell}' under 'Mass', 0 or 1 expected"):
        table(tmp_path, f"image,Mass\na,1\nb,{cell}\n", ("Mass",))


def test_other_columns_need_names(tmp_path) -> None:
    with pytest.raises(DataError, match="row 2 has 'Female' under 'Sex', 0 or 1 expected .name the columns"):
        table(tmp_path, CHEXPERT)


@pytest.mark.parametrize(
    ("text", "classes", "names", "labels"),
    [
        ("image,label\na,sick\nb,healthy\n", None, ("healthy", "sick"), [1, 0]),
        ("image,label\na,sick\nb,healthy\n", ("sick", "healthy"), ("sick", "healthy"), [0, 1]),
        ("image,age,Label\na,50,2\nb,60,0\n", None, ("0", "1", "2"), [2, 0]),
        ("image,MEL,NV\na,0.0,1.0\nb,1.0,0.0\n", None, ("MEL", "NV"), [1, 0]),
    ],
)
def test_one_class_per_image(tmp_path, text, classes, names, labels) -> None:
    found = table(tmp_path, text, classes, several=False)
    assert found.class_names == names
    assert found.of(["a", "b"]).tolist() == labels


@pytest.mark.parametrize(
    ("text", "several", "words"),
    [
        ("", True, "a header, and columns"),
        ("image,label\n", True, "a header, and columns"),
        ("image\na\n", True, "a header, and columns"),
        ("image,label\na,x\na,y\n", False, "one row per image expected, 'a' has 2"),
        ("image,age,label\na,1\n", False, "row 2 has 2 cells, 3 expected"),
        ("image,label\na,x|y\n", False, "'x|y' are several labels, one expected; several are --task multilabel"),
        ("image,A,B\na,1,1\n", False, "'a' has 2 classes, exactly one expected"),
        ("image,label\na,99999999\n", False, "class 99999999, below 65536 expected"),
        ('image,label\na,"x\n', False, "not a readable CSV file"),
    ],
)
def test_wrong_tables(tmp_path, text, several, words) -> None:
    with pytest.raises(DataError, match="labels.csv: .*" + words.replace("|", r"\|")):
        table(tmp_path, text, None, several)


def test_a_missing_and_a_binary_table(tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_labels(tmp_path / "nowhere.csv", None, True)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="not a readable CSV file"):
        read_labels(tmp_path / "b.csv", None, True)


def images(tmp_path, write_png):
    for number, name in enumerate(("00000001_000.png", "sub/00000001_001.png", "00000002_000.png")):
        write_png(tmp_path / "images" / name, np.full((4, 4), 10 * number, np.uint8))
    (tmp_path / "labels.csv").write_text(CHEST_XRAY14)
    return tmp_path / "images"


def test_a_folder_with_a_table(tmp_path, write_png) -> None:
    place = images(tmp_path, write_png)
    found = read_images(place, labels=tmp_path / "labels.csv", classes=FINDINGS, several=True)
    assert found.names == ("00000001_000.png", "00000002_000.png", "sub/00000001_001.png")
    assert found.labels.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert found.class_names == FINDINGS
    np.testing.assert_allclose(found.images[:, 0, 0, 0] * 255, [0, 20, 10], atol=1e-4)
    few = read_images(place, labels=tmp_path / "labels.csv", classes=FINDINGS, several=True, limit=1)
    assert few.names == ("00000001_000.png",)


def test_an_image_without_a_row(tmp_path, write_png) -> None:
    place = images(tmp_path, write_png)
    write_png(place / "other.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"labels\.csv: no row for 1 of 4 images, such as other\.png"):
        read_images(place, labels=tmp_path / "labels.csv", classes=FINDINGS, several=True)


def test_several_findings_need_a_table(tmp_path, write_png) -> None:
    with pytest.raises(DataError, match="several findings need a table of labels, --labels FILE"):
        read_images(images(tmp_path, write_png), several=True)
