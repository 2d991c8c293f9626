"""Image packs cut by patients, networks that are trained once, and the images that all of them get right."""

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from medadv.data import DataError
from studies._common.image_sources import UNKNOWN, Pack, Phantoms
from studies._common.networks import ARCHITECTURES, trained
from studies._common.preparation import prepare

FILMS = Phantoms("films", size=24, training=128, test=24, epochs=8)
PACK = Pack("pack", "sub/pack.npz", 8, (("low", (0,)), ("high", (1, 3))), test_share=0.5, epochs=1)


def write_pack(folder, patients):
    """One 16 x 16 image per patient, its grey level its number, labels 0, 1, 3, 0, 1, 3 and so on."""
    files = []
    for number in range(len(patients)):
        stream = io.BytesIO()
        Image.fromarray(np.full((16, 16), 10 * number, np.uint8)).save(stream, format="PNG")
        files.append(stream.getvalue())
    (folder / "sub").mkdir()
    np.savez(
        folder / PACK.path,
        png=np.frombuffer(b"".join(files), np.uint8),
        png_offset=np.cumsum([0, *map(len, files)]),
        m_label=np.array([(0, 1, 3)[number % 3] for number in range(len(patients))]),
        m_patient=np.array(patients),
        m_id=np.array([f"image{number}" for number in range(len(patients))]),
    )


def held_out(patient):
    return int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) < 2**31


def test_a_patient_is_on_one_side(tmp_path):
    patients = [f"p{number // 2}" for number in range(24)]
    write_pack(tmp_path, patients)
    split = PACK.read(tmp_path)
    sides = [
        [patients[int(name.removeprefix("image"))] for name in part.names] for part in (split.training, split.test)
    ]
    assert sides == [[p for p in patients if held_out(p) == test] for test in (False, True)]
    assert all(sides)


def test_images_and_labels_stay_together(tmp_path):
    write_pack(tmp_path, [UNKNOWN] * 12)
    split = PACK.read(tmp_path)
    assert len(split.training) + len(split.test) == 12
    for part in (split.training, split.test):
        assert part.class_names == ("low", "high")
        assert part.images.shape[1:] == (1, 8, 8)
        for image, label, name in zip(part.images, part.labels, part.names, strict=True):
            number = int(name.removeprefix("image"))
            np.testing.assert_allclose(image, 10 * number / 255, rtol=1e-5)
            assert label == (number % 3 > 0)


@pytest.mark.parametrize("data", [None, "folder"])
def test_a_pack_that_is_not_there_is_named(tmp_path, data):
    with pytest.raises(DataError, match=r"data must be a folder that holds sub/pack\.npz"):
        PACK.read(None if data is None else tmp_path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_are_trained_once_and_depend_on_their_seed(tmp_path, architecture):
    data, epochs = FILMS.read(None).training, []

    def network(seed):
        return trained(architecture, data, 1, seed, tmp_path, lambda epoch, loss: epochs.append(epoch))

    images = torch.from_numpy(data.images[:4])
    first, again, other = (network(seed)(images).detach() for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert epochs == [1, 1]


def test_what_is_attacked_is_right_in_every_network(tmp_path):
    prepared = prepare(FILMS, None, ("residual", "dense"), (0, 1), 3, tmp_path, lambda doing: None)
    assert list(prepared.victims) == [("residual", 0), ("dense", 0), ("residual", 1), ("dense", 1)]
    test = FILMS.read(None).test
    right = torch.ones(len(test), dtype=torch.bool)
    with torch.no_grad():
        for victim in prepared.victims.values():
            right &= victim(torch.from_numpy(test.images)).argmax(1) == torch.from_numpy(test.labels)
    everywhere = right.nonzero().flatten().tolist()
    assert set(prepared.ids.tolist()) <= set(everywhere)
    assert len(prepared.ids) == min(3, len(everywhere))
    assert torch.equal(prepared.images, torch.from_numpy(test.images)[prepared.ids])
    assert torch.equal(prepared.targets, torch.from_numpy(test.labels)[prepared.ids])
    shares = [row["accuracy"] for row in prepared.accuracy]
    assert all(row["low"] <= share <= row["high"] for row, share in zip(prepared.accuracy, shares, strict=True))
