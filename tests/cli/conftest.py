"""Images and models on disk, as a user has them, and a way to run the program in this process."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medadv.cli.main import program

ROOT = Path(__file__).resolve().parents[2]

MODELS = '''
"""Models for the tests of the command line."""

import torch
from torch import nn


class BrighterHalf(nn.Module):
    """Logits: mean of the left half and of the right half, times a number."""

    def __init__(self, classes=2, scale=20.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.classes = classes

    def forward(self, images):
        # Of images and of volumes.
        columns = images.flatten(1, -2).mean(dim=1)
        return columns.reshape(len(images), self.classes, -1).mean(dim=2) * self.scale


def good():
    print("made by a function that talks")
    return BrighterHalf().eval()


def duller():
    return BrighterHalf(scale=5.0).eval()


class HounsfieldUnits(BrighterHalf):
    def forward(self, images):
        return super().forward((images + 1024) / 4095)


def hounsfield():
    return HounsfieldUnits().eval()


class BrightQuarters(BrighterHalf):
    """One finding per quarter of the columns: is it bright?"""

    def forward(self, images):
        return super().forward(images - 0.45)


def quarters():
    return BrightQuarters(classes=4).eval()


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


def draw_volume(label, number, size=(3, 4, 8)):
    """A grey volume in [0, 1], one half of its columns brighter by 0.02 to 0.2."""
    random = np.random.default_rng([label, number])
    volume = random.uniform(0.3, 0.5, size)
    volume[..., label * size[2] // 2 : (label + 1) * size[2] // 2] += random.uniform(0.02, 0.2)
    return volume


def write_volumes(path, count=4):
    """NIfTI volumes in Hounsfield units."""
    for label, name in enumerate(("left", "right")):
        (path / name).mkdir(parents=True)
        for number in range(count):
            values = np.round(4095 * draw_volume(label, number) - 1024).astype(np.int16)
            nibabel.Nifti1Image(values, np.eye(4)).to_filename(path / name / f"{number}.nii.gz")
    return path


FINDINGS = ("Atelectasis", "Effusion", "Mass", "Nodule")


def write_findings(path, count=12):
    """Images with bright quarters, and the findings as ChestX-ray14 has them."""
    path.mkdir()
    rows = ["Image Index,Finding Labels,Patient Age,"]
    for number in range(count):
        random = np.random.default_rng(number)
        image, there = random.uniform(0.3, 0.5, (16, 16)), random.random(4) < 0.4
        for quarter in np.flatnonzero(there):
            image[:, 4 * quarter : 4 * quarter + 4] += random.uniform(0.1, 0.3)
        Image.fromarray((image * 255).astype(np.uint8)).save(path / f"{number:03d}.png")
        rows.append(f"{number:03d}.png,{'|'.join(np.array(FINDINGS)[there]) or 'No Finding'},50,")
    path.with_suffix(".csv").write_text("\n".join(rows))
    return path


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

    return SimpleNamespace(
        run=run,
        evaluate=evaluate,
        draw=draw,
        draw_volume=draw_volume,
        write_folder=write_folder,
        write_volumes=write_volumes,
        write_findings=write_findings,
        FINDINGS=FINDINGS,
        environment={**os.environ, "PYTHONPATH": str(ROOT)},
        json=json,
    )
