r"""Train a small residual network on chest X-rays, for `medadv evaluate`.

    python examples/train_chest_xray.py --data TRAIN --held-out TEST --out weights.safetensors
    medadv evaluate --model examples/train_chest_xray.py:chest_xray_network --weights weights.safetensors \
        --data TEST --size 96 96 --channels 1 --attack pgd --out results

TRAIN and TEST are folders with one sub-folder of images per class, such as normal/ and pneumonia/. The part of a file
name before the first "_" is the patient; a patient in both folders is an error. `chest_xray_network` has two classes:
for another number, name a function of your own that returns `chest_xray_network(number)`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from medadv.data import DataError, ImageSet, read_images
from medadv.models.residual_network import ResidualNetwork
from medadv.models.training import fit


def chest_xray_network(classes: int = 2) -> ResidualNetwork:
    """The untrained network, in eval mode; it reads grey images [N, 1, H, W] in [0, 1]."""
    return ResidualNetwork(in_channels=1, classes=classes, width=16, blocks=(1, 1, 1, 1)).eval()


def patients(images: ImageSet) -> set[str]:
    return {Path(name).name.split("_", 1)[0] for name in images.names}


def check_held_apart(training: ImageSet, held_out: ImageSet) -> None:
    if training.class_names != held_out.class_names:
        raise DataError(f"classes differ: {training.class_names} to train, {held_out.class_names} held out")
    shared = sorted(patients(training) & patients(held_out))
    if shared:
        raise DataError(f"{len(shared)} patients are in both folders, {shared[0]!r} for one")


def accuracy(network: nn.Module, data: ImageSet, batch: int = 64) -> tuple[float, list[float]]:
    """Share of images classified correctly, over all and per class."""
    with torch.inference_mode():
        chunks = torch.from_numpy(data.images).split(batch)
        predicted = torch.cat([network(chunk).argmax(1) for chunk in chunks]).numpy()
    right = predicted == data.labels
    per_class = [float(right[data.labels == label].mean()) for label in range(len(data.class_names))]
    return float(right.mean()), per_class


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description="Train a small residual network on chest X-rays.")
    parser.add_argument("--data", type=Path, required=True, help="folder to train on, one sub-folder per class")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of other patients, to measure on")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--size", type=int, default=96, help="images are resized to SIZE x SIZE pixels")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5e-3, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    size = (options.size, options.size)
    training = read_images(options.data, size=size, channels=1)
    held_out = read_images(options.held_out, size=size, channels=1)
    check_held_apart(training, held_out)
    torch.manual_seed(options.seed)
    network = chest_xray_network(len(training.class_names))
    started = time.monotonic()

    def epoch_done(epoch: int, loss: float) -> None:
        print(f"epoch {epoch}/{options.epochs}  loss {loss:.3f}  {time.monotonic() - started:.0f} s", flush=True)

    fit(
        network,
        training,
        epochs=options.epochs,
        batch=options.batch,
        rate=options.rate,
        seed=options.seed,
        progress=epoch_done,
    )
    overall, per_class = accuracy(network, held_out)
    listed = ", ".join(f"{name} {share:.3f}" for name, share in zip(held_out.class_names, per_class, strict=True))
    print(f"held-out accuracy {overall:.3f} on {len(held_out)} images of {len(patients(held_out))} patients ({listed})")
    save_file(network.state_dict(), options.out)
    return overall


if __name__ == "__main__":
    main()
