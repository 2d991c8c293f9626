"""Images and models on disk, as a user has them, and a way to run the program in this process."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medadv.cli.main import program

MODELS = '''
"""Models for the tests of the command line."""

import torch
from torch import nn


class BrighterHalf(nn.Module):
    """Logits: mean of the left half and of the right half, times a number."""

    def __init__(self, classes=2):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.classes = classes

    def forward(self, images):
        halves = images.mean(dim=(1, 2)).reshape(len(images), self.classes, -1).mean(dim=2)
        return halves * self.scale


def good():
    print("made by a function that talks")
    return BrighterHalf().eval()


def in_training():
    return nn.Sequential(BrighterHalf(), nn.Dropout(0.5)).train()


def probabilities():
    return nn.Sequential(BrighterHalf(), nn.Softmax(dim=1)).eval()


def one_probability():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 1), nn.Sigmoid()).eval()


class Fails(nn.Module):
    def forward(self, images):
        raise KeyError("no such layer\\nsecond line")


def fails():
    return Fails().eval()


class Detached(BrighterHalf):
    def forward(self, images):
        return super().forward(images.detach()).detach()


def detached():
    return Detached().eval()


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(context, images):
        return images.clone()

    @staticmethod
    def backward(context, gradient):
        raise IndexError("no way back")


class OneWay(BrighterHalf):
    def forward(self, images):
        return super().forward(NoWayBack.apply(images))


def one_way():
    return OneWay().eval()


def wrong_shape():
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).eval()


def not_a_model():
    return 7


def needs_arguments(width):
    return BrighterHalf()


def raises():
    raise RuntimeError("cannot be made")


class Slow(BrighterHalf):
    def forward(self, images):
        import time

        time.sleep(0.015)
        return super().forward(images)


def slow():
    return Slow().eval()
'''


def draw(label, number, size=16):
    """A grey image, one half brighter by 0 to 0.2."""
    random = np.random.default_rng([label, number])
    image = random.uniform(0.3, 0.5, (size, size))
    image[:, label * size // 2 : (label + 1) * size // 2] += random.uniform(0.02, 0.2)
    return (image * 255).astype(np.uint8)


def write_folder(path, count=8, size=16):
    for label, name in enumerate(("left", "right")):
        (path / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw(label, number, size)).save(path / name / f"{number}.png")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with models.py and a folder of images; `run` runs the program there."""
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(MODELS)
    write_folder(Path("images"))

    def run(*arguments):
        return CliRunner().invoke(program, list(map(str, arguments)), prog_name="medadv")

    def evaluate(*arguments, model="models.py:good", data="images", out="out"):
        given = arguments if "--attack" in arguments else ("--attack", "pgd", "--steps", 2, *arguments)
        return run("evaluate", "--model", model, "--data", data, "--out", out, *given)

    return SimpleNamespace(run=run, evaluate=evaluate, draw=draw, write_folder=write_folder, json=json)
