"""Images in the memory of the host, of which a few at a time come to the device of the model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class DeviceImages:
    """Rows of an array that come to a device when they are asked for.

    Args:
        images: [N, C, *S] float32, in the memory of the host.
        device: where they are wanted.

    >>> images = DeviceImages(np.zeros((3, 1, 4, 4), np.float32), torch.device("cpu"))
    >>> images[torch.tensor([2, 0])].shape, [len(part) for part in images.parts(2)]
    (torch.Size([2, 1, 4, 4]), [2, 1])
    """

    def __init__(self, images: NDArray[np.float32], device: torch.device) -> None:
        self._images = images
        self._device = device

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Some of the images, in this order.

        Args:
            rows: [M] int64, or a slice.

        Returns:
            [M, C, *S] float32 on the device.
        """
        chosen = self._images[rows if isinstance(rows, slice) else rows.cpu().numpy()]
        return torch.tensor(chosen, device=self._device)

    def parts(self, size: int) -> Iterator[Tensor]:
        """All images in their order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]
