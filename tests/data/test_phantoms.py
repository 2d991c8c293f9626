from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from medadv.data import chest_phantoms
from medadv.models.residual_network import ResidualNetwork


def test_shape_range_classes_and_names() -> None:
    films = chest_phantoms(5, size=48, seed=1)
    assert films.images.shape == (5, 1, 48, 48)
    assert films.images.dtype == np.float32
    assert films.labels.tolist() == [0, 1, 0, 1, 0]
    assert films.class_names == ("clear", "opacity")
    assert films.names[3] == "phantom-1-3"


def test_an_image_depends_on_seed_and_index_alone() -> None:
    few, many = chest_phantoms(3, seed=7), chest_phantoms(9, seed=7)
    np.testing.assert_array_equal(few.images, many.images[:3])
    assert many.sha256 == chest_phantoms(9, seed=7).sha256
    other = chest_phantoms(9, seed=8)
    assert (np.abs(other.images - many.images).mean((1, 2, 3)) > 0.01).all()
    pairs = [np.abs(many.images[i] - many.images[j]).mean() for i in range(9) for j in range(i)]
    assert min(pairs) > 0.01


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": 2, "size": 8}, {"count": 2, "seed": -1}, {"count": 2.0}])
def test_wrong_arguments(arguments) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number, \d+ or above"):
        chest_phantoms(**arguments)


def test_lungs_are_darker_than_heart_spine_and_abdomen() -> None:
    mean = chest_phantoms(64, size=64).images.mean((0, 1))
    lungs = (mean[24:36, 14:20].mean() + mean[24:36, 44:50].mean()) / 2
    assert mean[38:44, 34:40].mean() > lungs + 0.15  # heart
    assert mean[20:40, 30:34].mean() > lungs + 0.15  # spine
    assert mean[58:, 20:44].mean() > lungs + 0.15  # abdomen
    assert mean[34:46, 34:44].mean() > mean[34:46, 20:30].mean() + 0.05  # the heart lies right of the middle


def test_little_is_clipped() -> None:
    images = chest_phantoms(100).images
    assert ((images == 0) | (images == 1)).mean() < 0.01


def test_the_mean_grey_value_does_not_give_the_class_away() -> None:
    films = chest_phantoms(400)
    means = films.images.mean((1, 2, 3))
    clear, opacity = means[films.labels == 0], means[films.labels == 1]
    area = (opacity[:, None] > clear[None]).mean()
    assert 0.4 < area < 0.6


def test_drawing_is_fast() -> None:
    chest_phantoms(4)
    started = time.process_time()
    chest_phantoms(100, size=64)
    assert time.process_time() - started < 1.0  # 100 per second at the very least; about 900 on one idle core


@pytest.fixture
def one_thread():
    """Two threads on a busy machine wait for each other; one is quicker there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_small_network_learns_them() -> None:
    torch.manual_seed(0)
    training, held_out = chest_phantoms(1024, seed=0), chest_phantoms(256, seed=1)
    network = ResidualNetwork(width=8)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    epochs, batch = 10, 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=epochs * (len(training) // batch))
    images, labels = torch.from_numpy(training.images), torch.from_numpy(training.labels)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch):
            loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.inference_mode():
        predicted = network(torch.from_numpy(held_out.images)).argmax(1).numpy()
    assert (predicted == held_out.labels).mean() > 0.9
