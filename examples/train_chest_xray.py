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

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medadv.data import DataError, ImageSet, read_images
from medadv.models.residual_network import ResidualNetwork


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


def augment(images: Tensor, draw: torch.Generator, largest_shift: int = 4) -> Tensor:
    """Shift every image by up to `largest_shift` pixels along each axis and mirror half of them."""
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (largest_shift,) * 4, mode="replicate")
    row, column = torch.randint(0, 2 * largest_shift + 1, (2, count), generator=draw)
    shifted = torch.stack([padded[n, :, row[n] : row[n] + height, column[n] : column[n] + width] for n in range(count)])
    mirrored = torch.rand(count, generator=draw) < 0.5
    return torch.where(mirrored[:, None, None, None], shifted.flip(-1), shifted)


def train(network: nn.Module, data: ImageSet, epochs: int, batch: int, rate: float, seed: int) -> None:
    """Adam with a one-cycle rate on cross-entropy, classes weighted by the inverse of their size."""
    draw = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    sizes = np.bincount(data.labels, minlength=len(data.class_names))
    loss_of = nn.CrossEntropyLoss(torch.tensor(len(data) / (len(sizes) * sizes), dtype=torch.float32))
    steps = max(1, len(data) // batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)
    network.train()
    started = time.monotonic()
    for epoch in range(epochs):
        order = torch.randperm(len(data), generator=draw)
        total = 0.0
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            loss = loss_of(network(augment(images[chosen], draw)), labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs}  loss {total / steps:.3f}  {seconds:.0f} s", flush=True)
    network.eval()


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
    train(network, training, options.epochs, options.batch, options.rate, options.seed)
    overall, per_class = accuracy(network, held_out)
    listed = ", ".join(f"{name} {share:.3f}" for name, share in zip(held_out.class_names, per_class, strict=True))
    print(f"held-out accuracy {overall:.3f} on {len(held_out)} images of {len(patients(held_out))} patients ({listed})")
    save_file(network.state_dict(), options.out)
    return overall


if __name__ == "__main__":
    main()
