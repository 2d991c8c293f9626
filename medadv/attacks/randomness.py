"""Random numbers counted per example, so that a result depends on no other example."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_WORD = 2**64


class Draw:
    """Random numbers for a batch, each row from its own generator.

    The generator is NumPy's Philox with the key (seed, example id) and a counter that starts at (restart, number of the
    draw): Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011). So the numbers of an example are the
    same in any batch, order, process or device.

    Args:
        seed: whole number from 0 to 2^64 - 1.
        ids: [N] int64, one number per example; its device is where the numbers go.
        restart: number of the restart, from 0.

    >>> whole = Draw(0, torch.tensor([3, 8]), 0).uniform((2,))
    >>> part = Draw(0, torch.tensor([8]), 0).uniform((2,))
    >>> torch.equal(whole[1:], part)
    True
    """

    def __init__(self, seed: int, ids: Tensor, restart: int) -> None:
        self.seed = seed
        self.ids = ids
        self.restart = restart
        self._draws = 0

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Multiples of 2^-23 in [-1, 1).

        Args:
            shape: shape for each example.

        Returns:
            [N, *shape] float32.
        """
        return self._rows(lambda generator: generator.random(shape, dtype=np.float32)) * 2 - 1

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers.

        Args:
            shape: shape for each example.

        Returns:
            [N, *shape] float32.
        """
        return self._rows(lambda generator: generator.standard_normal(shape, dtype=np.float32))

    def keep(self, rows: Tensor) -> None:
        """Draw for these examples only from now on; what they get does not change.

        Args:
            rows: bool [N].
        """
        self.ids = self.ids[rows]

    def _rows(self, fill: Callable[[np.random.Generator], NDArray[np.float32]]) -> Tensor:
        counter = np.array([0, 0, self._draws, self.restart], dtype=np.uint64)
        self._draws += 1
        keys = [np.array([self.seed, example % _WORD], dtype=np.uint64) for example in self.ids.tolist()]
        rows = [fill(np.random.Generator(np.random.Philox(key=key, counter=counter))) for key in keys]
        return torch.from_numpy(np.stack(rows)).to(self.ids.device)
