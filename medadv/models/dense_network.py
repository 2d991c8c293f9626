"""A small densely connected network for 2D images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medadv.models.small_network import SmallNetwork, check_sizes


class DenseNetwork(SmallNetwork):
    """A densely connected network (Huang et al., Densely connected convolutional networks, 2017), scaled down.

    The image is normalised inside, (x - mean) / std, so it goes in as it is, in [0, 1]. A strided 3 x 3 convolution,
    stages of layers that each append `growth` channels to all channels before them, between two stages a transition
    that halves channels and image, global average, linear. No bottlenecks: they save nothing at this size.

    Args:
        in_channels: 1 (grey) or 3 (colour), or any other number of channels.
        classes: number of logits K, at least 2.
        growth: channels that every layer adds; the first convolution makes twice as many.
        layers: layers per stage.
        mean, std: of the grey values of the training images, in image units; std above 0.

    >>> network = DenseNetwork(in_channels=1, classes=3).eval()
    >>> network(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        growth: int = 8,
        layers: tuple[int, ...] = (2, 2, 2),
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        sizes = {"in_channels": (in_channels, 1), "classes": (classes, 2), "growth": (growth, 1)}
        check_sizes(sizes, layers, "layers")
        channels = 2 * growth
        stem = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False)
        stages: list[nn.Module] = []
        for stage, depth in enumerate(layers):
            if stage:
                stages.append(Transition(channels, channels // 2))
                channels //= 2
            for _ in range(depth):
                stages.append(DenseLayer(channels, growth))
                channels += growth
        head = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
        )
        super().__init__(stem, nn.Sequential(*stages), head, mean, std)


class DenseLayer(nn.Module):
    """A 3 x 3 convolution of all features so far, appended to them."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features, self.new(features)], dim=1)


class Transition(nn.Sequential):
    """A 1 x 1 convolution to other channels, and means of 2 x 2 pixels (less where an odd size leaves a rest)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.AvgPool2d(2, ceil_mode=True),
        )
