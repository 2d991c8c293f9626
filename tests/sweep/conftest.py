"""A small evaluation whose right answer is plain: which half of the image is brighter?"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medadv.attacks import PGD, BiasFieldAttack
from medadv.data import ImageSet
from medadv.models import Victim
from medadv.sweep.plan import Curve, Evaluation

SIZE = 16
NOISE = (0.01, 0.03, 0.1)
GAINS = (1.05, 1.2, 1.6)


class BrighterHalf(nn.Module):
    """Logits: mean of the left half and of the right half, times a number; counts the images that it is shown."""

    def __init__(self, scale=20.0, edge=None, dtype=torch.float64):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=dtype))
        self.edge = edge or nn.Identity()
        self.shown = 0

    def forward(self, images):
        self.shown += len(images)
        halves = self.edge(images).mean(dim=(1, 2)).reshape(len(images), 2, -1).mean(dim=2)
        return halves * self.scale


def halves(count=24, seed=0):
    """Grey images, one half brighter by 0 to 0.2; about one label in ten is wrong."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = draw.uniform(0.3, 0.5, (count, 1, SIZE, SIZE))
    brighter = draw.uniform(0.0, 0.2, count)
    for image, label, more in zip(images, labels, brighter, strict=True):
        image[:, :, label * SIZE // 2 : (label + 1) * SIZE // 2] += more
    labels = np.where(np.arange(count) % 11 == 5, 1 - labels, labels)
    names = tuple(f"{number}.png" for number in range(count))
    return ImageSet(images.astype(np.float32), labels.astype(np.int64), names, ("left", "right"))


def evaluation(module=None, data=None, curves=None, **options):
    curves = curves or (
        Curve(PGD(steps=4, step_size=0.5), NOISE),
        Curve(BiasFieldAttack(steps=4, step_size=0.5, spacing=4), GAINS),
    )
    module = BrighterHalf() if module is None else module
    given = {"shard_size": 10, "seed": 3, **options}
    return Evaluation(Victim(module.eval()), "tests:model", data or halves(), "tests", tuple(curves), **given)


@pytest.fixture
def job():
    """The helpers above; test files cannot import a conftest."""
    return SimpleNamespace(BrighterHalf=BrighterHalf, halves=halves, evaluation=evaluation, NOISE=NOISE, GAINS=GAINS)


@pytest.fixture(scope="session")
def evaluation_of_tests():
    return evaluation
