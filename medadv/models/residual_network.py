"""A small residual network for 2D images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualNetwork(nn.Module):
    """A pre-activation residual network (He et al., Identity Mappings in Deep Residual Networks, 2016), scaled down.

    The image is normalised inside, (x - mean) / std, so it goes in as it is, in [0, 1]. A strided 3 x 3
    convolution, stages of residual blocks (stage i has width 2**i and all but the first halve the image),
    global average, linear.

    Args:
        in_channels: 1 (grey) or 3 (colour), or any other number of channels.
        classes: number of logits K, at least 2.
        width: channels of the first stage.
        blocks: residual blocks per stage.
        mean, std: of the grey values of the training images, in image units; std above 0.

    >>> network = ResidualNetwork(in_channels=1, classes=3).eval()
    >>> network(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        width: int = 16,
        blocks: tuple[int, ...] = (1, 1, 1),
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        for name, value, least in (("in_channels", in_channels, 1), ("classes", classes, 2), ("width", width, 1)):
            if value < least:
                raise ValueError(f"{name} must be {least} or above, got {value}")
        if not blocks or min(blocks) < 1:
            raise ValueError(f"blocks must hold at least one stage of 1 or more blocks, got {blocks}")
        if not std > 0:
            raise ValueError(f"std must be above 0, got {std}")
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(float(std)))
        self.stem = nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False)
        stages: list[nn.Module] = []
        channels = width
        for stage, depth in enumerate(blocks):
            for block in range(depth):
                out_channels = width * 2**stage
                stages.append(ResidualBlock(channels, out_channels, 2 if stage and not block else 1))
                channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, K] of images [N, C, H, W] in [0, 1]."""
        logits: Tensor = self.head(self.stages(self.stem((images - self.mean) / self.std)))
        return logits


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions added to the input, or to its 1 x 1 projection where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        )
        self.second = nn.Sequential(
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(features)) + self.shortcut(features)
        return result
