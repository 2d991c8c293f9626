"""Trained networks of an image set, and the test images that all of them get right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medadv.data import DataError, ImageSet
from medadv.metrics import wilson
from medadv.models import Victim, model_sha256
from studies._common.image_sources import ImageSource
from studies._common.networks import trained

NetworkName = tuple[str, int]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """Networks of one image set and what is attacked.

    Attributes:
        source: the image set.
        training: images that the networks were trained on.
        victims: by architecture and training seed.
        sha256: of the weights of each.
        accuracy: rows for the results, on all test images.
        images: [n, 1, H, W], test images that every network gets right, at most as many as asked for.
        targets: [n] int64.
        ids: [n] int64, their places among the test images.
    """

    source: ImageSource
    training: ImageSet
    victims: dict[NetworkName, Victim]
    sha256: dict[NetworkName, str]
    accuracy: list[dict[str, Any]]
    images: Tensor
    targets: Tensor
    ids: Tensor


def prepare(
    source: ImageSource,
    data: Path | None,
    architectures: tuple[str, ...],
    seeds: tuple[int, ...],
    limit: int,
    folder: Path,
    tell: Tell,
) -> Prepared:
    """Read an image set and train its networks, or read them from an earlier run.

    Args:
        source: the image set.
        data: folder of the packs.
        architectures: of the networks.
        seeds: of their training.
        limit: largest number of images to attack, at least 1.
        folder: where weights are kept.
        tell: called with what is being done, after every epoch and network.

    Returns:
        All that attacks need.

    Raises:
        DataError: the set is not there, or no image is right in all networks.
    """
    split = source.read(data)
    images, targets = torch.from_numpy(split.test.images), torch.from_numpy(split.test.labels)
    victims, hashes, rows = {}, {}, []
    everywhere = torch.ones(len(targets), dtype=torch.bool)
    for seed in seeds:
        for architecture in architectures:
            doing = f"training {architecture} {seed} on {source.name}"

            def epoch_done(epoch: int, loss: float, doing: str = doing) -> None:
                tell(f"{doing}, epoch {epoch} of {source.epochs}, loss {loss:.2f}")

            network = trained(architecture, split.training, source.epochs, seed, folder, epoch_done)
            victim = Victim(network)
            correct = victim.correct(victim.clean_logits(images, targets), targets)
            everywhere &= correct
            victims[architecture, seed], hashes[architecture, seed] = victim, model_sha256(network)
            rows.append(_accuracy(source, architecture, seed, correct, len(split.training)))
    right = everywhere.nonzero().flatten()
    if len(right) == 0:
        raise DataError(f"{source.name}: no test image is right in all networks")
    # Spread evenly, because sets may be ordered by class.
    chosen = right[torch.linspace(0, len(right) - 1, min(limit, len(right))).round().long()]
    return Prepared(source, split.training, victims, hashes, rows, images[chosen], targets[chosen], chosen)


def _accuracy(source: ImageSource, architecture: str, seed: int, right: Tensor, training: int) -> dict[str, Any]:
    count, total = int(right.sum()), len(right)
    low, high = wilson(count, total)
    return {
        "set": source.name,
        "architecture": architecture,
        "seed": seed,
        "training images": training,
        "test images": total,
        "accuracy": count / total,
        "low": low,
        "high": high,
    }
