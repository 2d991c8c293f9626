"""What every objective can do."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Objective(Protocol):
    """One number per image that an attack raises; implementations are frozen dataclasses."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The objective, higher is worse for the victim.

        Args:
            logits: [N, K] float32, K >= 2.
            targets: [N] int64.

        Returns:
            [N] float32.
        """
        ...
