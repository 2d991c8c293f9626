"""Small networks, trained here, and images for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from medadv.attacks import PGD
from medadv.data import ImageSet, chest_phantoms
from medadv.models import ResidualNetwork, Victim
from medadv.models.training import augment, fit

XRAYS = Path(os.environ.get("MEDADV_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "A_cxr"


@dataclass(frozen=True, eq=False)
class Trained:
    """A network, images that it gets right, and budgets that break a part of them.

    Attributes:
        network: in eval mode.
        images: [N, C, H, W] in [0, 1].
        targets: [N].
        classes: that the network tells apart.
        accuracy: share of all test images that it gets right.
        eps: budgets by norm, as fractions of the image range.
    """

    network: nn.Module
    images: Tensor
    targets: Tensor
    classes: int
    accuracy: float
    eps: dict[str, float]


def small_phantoms(count: int) -> Trained:
    """Generated chest films of 32 x 32, two classes."""
    train, test = chest_phantoms(768, size=32, seed=0), chest_phantoms(2 * count, size=32, seed=1)
    torch.manual_seed(0)
    network = ResidualNetwork(width=8)
    fit(network, train, epochs=12)
    return _right(network, test, count, {"linf": 0.02, "l2": 0.25, "l1": 3.0})


def phantoms(count: int) -> Trained:
    """Generated chest films of 96 x 96, two classes, and the network of examples/train_chest_xray.py."""
    train, test = chest_phantoms(256, size=96, seed=0), chest_phantoms(2 * count, size=96, seed=1)
    torch.manual_seed(0)
    network = ResidualNetwork(classes=2, width=16, blocks=(1, 1, 1, 1))
    fit(network, train, epochs=6)
    return _right(network, test, count, {"linf": 0.01, "l2": 0.4, "l1": 8.0})


def small_digits(count: int) -> Trained:
    """Digits of 32 x 32, ten classes; trained on attacked images, so moderately robust."""
    train, test = _digits(32)
    torch.manual_seed(0)
    network = ResidualNetwork(classes=10, width=8)
    fit(network, train, epochs=4)
    fit_on_attacked(network, train, PGD(eps=0.1, steps=2, step_size=0.75, stop_early=False), epochs=4)
    return _right(network, test, count, {"linf": 0.1, "l2": 1.0, "l1": 8.0})


def undefended_digits(count: int, seed: int = 0) -> Trained:
    """As `small_digits`, trained on clean images alone."""
    train, test = _digits(32)
    torch.manual_seed(seed)
    network = ResidualNetwork(classes=10, width=8)
    fit(network, train, epochs=4)
    return _right(network, test, count, {"linf": 0.03, "l2": 1.0, "l1": 8.0})


def digits(count: int) -> Trained:
    """Digits of 64 x 64, ten classes, and the layers of an 18-layer residual network of width 16."""
    train, test = _digits(64)
    torch.manual_seed(0)
    network = ResidualNetwork(classes=10, width=16, blocks=(2, 2, 2, 2))
    fit(network, train, epochs=2)
    fit_on_attacked(network, train, PGD(eps=0.1, steps=1, stop_early=False), epochs=2)
    return _right(network, test, count, {"linf": 0.1, "l2": 2.0, "l1": 16.0})


def small_chest_xrays(count: int, seed: int = 0) -> Trained:
    """As `chest_xrays`, of 32 x 32, and a narrower network."""
    return _of_chest_xrays(count, seed, size=32, width=8)


def chest_xrays(count: int, seed: int = 0) -> Trained:
    """Chest X-rays of children of 64 x 64, three classes (Kermany et al., 2018); needs the data."""
    return _of_chest_xrays(count, seed, size=64, width=16)


NETWORKS: dict[str, Callable[[int], Trained]] = {
    "phantoms 32": small_phantoms,
    "phantoms 96": phantoms,
    "digits 32": small_digits,
    "digits 32, undefended": undefended_digits,
    "digits 64": digits,
    "chest X-rays 32": small_chest_xrays,
    "chest X-rays 64": chest_xrays,
}

# Those that are trained from other random weights, too: by the number of images and the seed.
SEEDED: dict[str, Callable[[int, int], Trained]] = {
    "digits 32, undefended": undefended_digits,
    "chest X-rays 32": small_chest_xrays,
    "chest X-rays 64": chest_xrays,
}


def fit_on_attacked(network: nn.Module, data: ImageSet, attack: PGD, epochs: int, batch: int = 64) -> None:
    """Go on training on attacked images (Madry et al., 2018); leaves the network in eval mode."""
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    draw = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=draw).split(batch):
            clean, targets = augment(images[chosen], draw), labels[chosen]
            changed = attack(Victim(network.eval()), clean, targets, chosen).images
            network.train()
            optimiser.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(network(changed), targets).backward()
            optimiser.step()
    network.eval()


def _of_chest_xrays(count: int, seed: int, size: int, width: int) -> Trained:
    train, test = _chest_xrays(size)
    torch.manual_seed(seed)
    network = ResidualNetwork(classes=3, width=width)
    fit(network, train, epochs=12)
    return _right(network, test, count, {"linf": 0.004, "l2": 0.1, "l1": 2.0})


def _right(network: nn.Module, test: ImageSet, count: int, eps: dict[str, float]) -> Trained:
    images, targets = torch.from_numpy(test.images), torch.from_numpy(test.labels)
    with torch.no_grad():
        right = torch.cat([network(part) for part in images.split(64)]).argmax(1) == targets
    images, targets = images[right][:count], targets[right][:count]
    return Trained(network, images, targets, len(test.class_names), float(right.double().mean()), eps)


def _digits(size: int) -> tuple[ImageSet, ImageSet]:
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images / 16).float().unsqueeze(1)
    images = nn.functional.interpolate(images, size=(size, size), mode="bilinear").clamp(0, 1)
    return _halves(images.numpy(), found.target.astype(np.int64), tuple("0123456789"), training=1200)


def _chest_xrays(size: int) -> tuple[ImageSet, ImageSet]:
    import io

    from PIL import Image

    pack = np.load(XRAYS / "kermany3.npz", allow_pickle=False)
    ends = pack["png_offset"]
    films = [Image.open(io.BytesIO(pack["png"][first:last].tobytes())) for first, last in pairwise(ends)]
    resized = [np.asarray(film.convert("L").resize((size, size), Image.Resampling.BOX)) for film in films]
    images = (np.stack(resized).astype(np.float32) / 255)[:, None]
    # Patients stay together, in an order that has nothing to do with their names.
    order = np.argsort([hashlib.sha256(str(name).encode()).hexdigest() for name in pack["m_patient"]], kind="stable")
    return _halves(images[order], pack["m_label"][order].astype(np.int64), ("normal", "bacterial", "viral"), 700)


def _halves(
    images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], training: int
) -> tuple[ImageSet, ImageSet]:
    names = tuple(map(str, range(len(images))))
    first, second = slice(None, training), slice(training, None)
    return tuple(ImageSet(images[part], labels[part], names[part], classes) for part in (first, second))
