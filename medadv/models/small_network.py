"""What the small reference networks share: normalisation inside, a stem, stages and a head."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class SmallNetwork(nn.Module):
    """A network that normalises the image itself, (x - mean) / std, so that it goes in as it is, in [0, 1].

    Args:
        stem: from images [N, C, H, W] to features.
        stages: from features to features.
        head: from features to logits [N, K].
        mean, std: of the grey values of the training images, in image units; std above 0.

    Raises:
        ValueError: std is not above 0.

    >>> SmallNetwork(nn.Identity(), nn.Identity(), nn.Flatten(), mean=0.5, std=0.25)(torch.ones(1, 1, 1, 2))
    tensor([[2., 2.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, stem: nn.Module, stages: nn.Module, head: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        if not std > 0:
            raise ValueError(f"std must be above 0, got {std}")
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(float(std)))
        self.stem = stem
        self.stages = stages
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, K] of images [N, C, H, W] in [0, 1]."""
        logits: Tensor = self.head(self.stages(self.stem((images - self.mean) / self.std)))
        return logits


def check_sizes(sizes: Mapping[str, tuple[int, int]], stages: tuple[int, ...], name: str) -> None:
    """Refuse numbers of channels, classes or layers that make no network.

    Args:
        sizes: value and least value by name.
        stages: the depth of every stage.
        name: what the network calls `stages`.

    Raises:
        ValueError: a value below its least; no stage, or one without depth.

    >>> check_sizes({"classes": (1, 2)}, (1,), "blocks")
    Traceback (most recent call last):
    ValueError: classes must be 2 or above, got 1
    """
    for size, (value, least) in sizes.items():
        if value < least:
            raise ValueError(f"{size} must be {least} or above, got {value}")
    if not stages or min(stages) < 1:
        raise ValueError(f"{name} must hold at least one stage of 1 or more {name}, got {stages}")
