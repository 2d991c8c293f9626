"""The training recipe."""

import numpy as np
import pytest
import torch

from medadv.data import ImageSet, chest_phantoms
from medadv.models import ResidualNetwork, model_sha256
from medadv.models.training import augment, fit


def trained(data, seed=0, **options):
    torch.manual_seed(0)
    network = ResidualNetwork(width=4, blocks=(1, 1))
    fit(network, data, **{"epochs": 2, "batch": 8, "seed": seed, **options})
    return network


def test_it_learns_what_can_be_seen():
    """Which half is brighter: the mirror image has the other answer, so top and bottom halves are taken."""
    draw = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = draw.uniform(0.3, 0.6, (64, 1, 24, 24)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[:, 12 * label : 12 * label + 12] += 0.2
    data = ImageSet(images, labels.astype(np.int64), tuple(map(str, range(64))), ("top", "bottom"))
    losses = []
    network = trained(data, epochs=8, progress=lambda epoch, loss: losses.append((epoch, loss)))
    assert not network.training
    with torch.no_grad():
        right = network(torch.from_numpy(images)).argmax(1).numpy() == labels
    assert right.mean() > 0.95
    assert [epoch for epoch, _ in losses] == list(range(1, 9))
    assert losses[-1][1] < 0.3 < losses[0][1]


def test_same_seed_same_weights():
    data = chest_phantoms(16, size=24)
    first = model_sha256(trained(data))
    assert model_sha256(trained(data)) == first
    assert model_sha256(trained(data, seed=1)) != first


def test_rare_classes_weigh_more():
    """With two of sixteen images in class 1 and images that say nothing, the network must not lean to class 0."""
    grey = np.full((16, 1, 16, 16), 0.5, np.float32)
    labels = (np.arange(16) < 2).astype(np.int64)
    data = ImageSet(grey, labels, tuple(map(str, range(16))), ("common", "rare"))
    network = trained(data, epochs=60, batch=16)
    with torch.no_grad():
        logits = network(torch.from_numpy(grey[:1]))[0]
    assert abs(float(logits[1] - logits[0])) < 0.5  # log(14 / 2) = 1.9 without weights


def test_augmentation_shifts_and_mirrors_but_keeps_grey_values():
    images = torch.zeros(512, 1, 24, 24)
    images[:, :, 12, 9] = 1.0
    moved = augment(images, torch.Generator().manual_seed(0), largest_shift=3)
    assert moved.shape == images.shape
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(512))
    rows, columns = moved.nonzero()[:, 2], moved.nonzero()[:, 3]
    assert set(rows.tolist()) == set(range(9, 16))
    assert set(columns.tolist()) == set(range(6, 13)) | set(range(11, 18))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs must be 1"),
        ({"batch": 0}, "batch must be"),
        ({"batch": 9}, "number of images, 8, got 9"),
    ],
)
def test_wrong_numbers_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        trained(chest_phantoms(8, size=16), **options)


def test_a_class_without_images_is_refused():
    films = chest_phantoms(8, size=16)
    data = ImageSet(films.images, films.labels, films.names, (*films.class_names, "third"))
    with pytest.raises(ValueError, match="got none of 'third'"):
        trained(data)
