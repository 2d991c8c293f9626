"""A short recipe that trains small networks well in a minute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from medadv.data import ImageSet


def fit(
    network: nn.Module,
    data: ImageSet,
    *,
    epochs: int,
    batch: int = 32,
    rate: float = 5e-3,
    seed: int = 0,
    progress: Callable[[int, float], None] = lambda epoch, loss: None,
) -> None:
    """Train a network: AdamW with a one-cycle rate on cross-entropy, classes weighted by the inverse of their size.

    Images are shifted and mirrored at random (`augment`). The network is left in eval mode. Its first weights come
    from the caller's generator: call `torch.manual_seed` before making it for a result that can be repeated.

    Args:
        network: from images [N, C, H, W] to logits [N, K]; on the CPU.
        data: the training images.
        epochs: passes over the data, at least 1.
        batch: images per step, 1 to the number of images; the rest of an epoch that fills no batch is left out.
        rate: largest learning rate, above 0.
        seed: of order and augmentation.
        progress: called after each epoch with the number of epochs done and the mean loss.

    Raises:
        ValueError: a number out of its range.

    >>> from medadv.data import chest_phantoms
    >>> from medadv.models import ResidualNetwork
    >>> network = ResidualNetwork(width=4, blocks=(1,))
    >>> fit(network, chest_phantoms(8, size=16), epochs=1, batch=4)
    >>> network.training
    False
    """
    if epochs < 1:
        raise ValueError(f"epochs must be 1 or above, got {epochs}")
    if not 1 <= batch <= len(data):
        raise ValueError(f"batch must be from 1 to the number of images, {len(data)}, got {batch}")
    draw = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    loss_of = nn.CrossEntropyLoss(_class_weights(data))
    steps = len(data) // batch
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)
    network.train()
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
        progress(epoch + 1, total / steps)
    network.eval()


def augment(images: Tensor, draw: torch.Generator, largest_shift: int = 4) -> Tensor:
    """Shift every image by up to `largest_shift` pixels along each axis and mirror half of them.

    Args:
        images: [N, C, H, W].
        draw: random numbers.
        largest_shift: in pixels, at least 0; the border is repeated outwards.

    Returns:
        New images [N, C, H, W].

    >>> augment(torch.ones(2, 1, 8, 8), torch.Generator()).shape
    torch.Size([2, 1, 8, 8])
    """
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (largest_shift,) * 4, mode="replicate")
    row, column = torch.randint(0, 2 * largest_shift + 1, (2, count), generator=draw)
    shifted = torch.stack([padded[n, :, row[n] : row[n] + height, column[n] : column[n] + width] for n in range(count)])
    mirrored = torch.rand(count, generator=draw) < 0.5
    return torch.where(mirrored[:, None, None, None], shifted.flip(-1), shifted)


def _class_weights(data: ImageSet) -> Tensor:
    sizes = np.bincount(data.labels, minlength=len(data.class_names))
    if sizes.min() == 0:
        raise ValueError(f"data must hold images of every class, got none of {data.class_names[int(sizes.argmin())]!r}")
    return torch.tensor(len(data) / (len(sizes) * sizes), dtype=torch.float32)
