"""The networks of the studies: three small architectures, trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from medadv.data import ImageSet
from medadv.models import DenseNetwork, MobileNetwork, ResidualNetwork
from medadv.models.training import fit
from medadv.sweep.unit import Unit

BATCH = 32
DEPTHS = (1, 1, 1, 1)

Progress = Callable[[int, float], None]

# Sizes at which one gradient of a 96 x 96 image takes about a millisecond.
ARCHITECTURES: dict[str, Callable[[int, float, float], nn.Module]] = {
    "residual": lambda classes, mean, std: ResidualNetwork(1, classes, width=8, blocks=DEPTHS, mean=mean, std=std),
    "dense": lambda classes, mean, std: DenseNetwork(1, classes, growth=6, layers=(2, 2, 2, 2), mean=mean, std=std),
    "mobile": lambda classes, mean, std: MobileNetwork(
        1, classes, width=8, blocks=DEPTHS, expansion=2, mean=mean, std=std
    ),
}


def trained(
    architecture: str, training: ImageSet, epochs: int, seed: int, folder: Path, progress: Progress
) -> nn.Module:
    """A network, trained now or read from an earlier run.

    Args:
        architecture: a key of `ARCHITECTURES`.
        training: grey images.
        epochs: passes over them.
        seed: of the first weights, the order and the augmentation.
        folder: where weights are kept, under a name that changes with anything above.
        progress: as `medadv.models.training.fit` takes it; not called for weights that were kept.

    Returns:
        The network in eval mode.
    """
    torch.manual_seed(seed)
    grey = training.images
    network = ARCHITECTURES[architecture](len(training.class_names), float(grey.mean()), float(grey.std()))
    sizes = [[name, list(values.shape)] for name, values in network.state_dict().items()]
    recipe = {"sizes": sizes, "data": training.sha256, "epochs": epochs, "batch": BATCH, "seed": seed}
    path = folder / f"{architecture}-{seed}-{Unit('network', recipe).id[:16]}.safetensors"
    if path.is_file():
        network.load_state_dict(load_file(path))
        return network.eval()
    fit(network, training, epochs=epochs, batch=min(BATCH, len(training)), seed=seed, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    save_file(network.state_dict(), unfinished)
    unfinished.replace(path)
    return network
