"""Small victims whose worst case is known, and a module that counts what is asked of it."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from medadv.models import Victim


class Counting(nn.Module):
    """Counts the images it is shown, and the images for which a gradient is taken."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.shown = 0
        self.differentiated = 0

    def forward(self, images):
        self.shown += len(images)
        logits = self.module(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient):
        self.differentiated += int((gradient.abs().flatten(1).sum(1) > 0).sum())


def linear_victim(shape, classes=2, seed=0, bounds=(0.0, 1.0), bias=0.0, **options):
    """A linear model in float64 and its weights [K, *shape]."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.Size(shape).numel()
    layer = nn.Linear(pixels, classes, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, pixels, generator=generator, dtype=torch.float64) / pixels**0.5)
        layer.bias.fill_(0.0)
        layer.bias[0] = bias
    net = nn.Sequential(nn.Flatten(), layer).eval()
    return Victim(net, bounds=bounds, **options), layer.weight.detach().reshape(classes, *shape)


def curved_victim(channels=1, classes=3, seed=0, bounds=(0.0, 1.0), axes=2):
    """A small convolutional network in float64."""
    torch.manual_seed(seed)
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    pool = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[axes]
    net = nn.Sequential(
        conv(channels, 6, 3, padding=1), nn.Tanh(), pool(3), nn.Flatten(), nn.Linear(6 * 3**axes, classes)
    )
    low, high = bounds
    return Victim(net.double().eval(), bounds=bounds, mean=(low + high) / 2, std=(high - low) / 4)


def images_in(bounds, shape, seed=0):
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def answers(victim, images):
    with torch.no_grad():
        return victim(images).argmax(1)


@pytest.fixture
def lab():
    """The helpers above; test files cannot import a conftest."""
    return SimpleNamespace(
        Counting=Counting,
        linear_victim=linear_victim,
        curved_victim=curved_victim,
        images_in=images_in,
        answers=answers,
    )


@pytest.fixture(autouse=True)
def one_thread():
    """The victims here are so small that threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
