"""A small residual network for 2D images."""

from __future__ import annotations

from torch import Tensor, nn

from medadv.models.small_network import SmallNetwork, check_sizes


class ResidualNetwork(SmallNetwork):
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

    >>> import torch
    >>> network = ResidualNetwork(in_channels=1, classes=3).eval()
    >>> network(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        width: int = 16,
        blocks: tuple[int, ...] = (1, 1, 1),
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        sizes = {"in_channels": (in_channels, 1), "classes": (classes, 2), "width": (width, 1)}
        check_sizes(sizes, blocks, "blocks")
        stem = nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False)
        stages: list[nn.Module] = []
        channels = width
        for stage, depth in enumerate(blocks):
            for block in range(depth):
                out_channels = width * 2**stage
                stages.append(ResidualBlock(channels, out_channels, 2 if stage and not block else 1))
                channels = out_channels
        head = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
        )
        super().__init__(stem, nn.Sequential(*stages), head, mean, std)


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
