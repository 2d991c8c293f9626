"""A small network of inverted residuals for 2D images."""

from __future__ import annotations

from torch import Tensor, nn

from medadv.models.small_network import SmallNetwork, check_sizes


class MobileNetwork(SmallNetwork):
    """Inverted residuals with depthwise convolutions (Sandler et al., MobileNetV2, 2018), scaled down.

    The image is normalised inside, (x - mean) / std, so it goes in as it is, in [0, 1]. A strided 3 x 3 convolution,
    stages of inverted residuals (stage i has width 2**i and all but the first halve the image), global average, linear.

    Args:
        in_channels: 1 (grey) or 3 (colour), or any other number of channels.
        classes: number of logits K, at least 2.
        width: channels of the first stage.
        blocks: inverted residuals per stage.
        expansion: channels inside a block over those that go in.
        mean, std: of the grey values of the training images, in image units; std above 0.

    >>> import torch
    >>> network = MobileNetwork(in_channels=1, classes=3).eval()
    >>> network(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        width: int = 8,
        blocks: tuple[int, ...] = (1, 1, 1),
        expansion: int = 4,
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        sizes = {
            "in_channels": (in_channels, 1),
            "classes": (classes, 2),
            "width": (width, 1),
            "expansion": (expansion, 1),
        }
        check_sizes(sizes, blocks, "blocks")
        stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()
        )
        stages: list[nn.Module] = []
        channels = width
        for stage, depth in enumerate(blocks):
            for block in range(depth):
                out_channels = width * 2**stage
                stages.append(InvertedResidual(channels, out_channels, 2 if stage and not block else 1, expansion))
                channels = out_channels
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        super().__init__(stem, nn.Sequential(*stages), head, mean, std)


class InvertedResidual(nn.Module):
    """A 1 x 1 convolution to more channels, a 3 x 3 one of each channel alone, and a linear 1 x 1 one to fewer.

    Added to the input where the shape stays the same.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = expansion * in_channels
        self.change = nn.Sequential(
            nn.Conv2d(in_channels, inside, 1, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU6(),
            nn.Conv2d(inside, inside, 3, stride=stride, padding=1, groups=inside, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU6(),
            nn.Conv2d(inside, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        change: Tensor = self.change(features)
        return features + change if self.adds else change
