"""Margin between the best wrong class and the right one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Margin:
    """Largest logit of a wrong class minus the logit of the target: above 0 exactly where the victim is wrong.

    The objective f6 of Carlini and Wagner, "Towards evaluating the robustness of neural networks" (2017), no floor.

    >>> import torch
    >>> Margin()(torch.tensor([[3.0, 1.0, 2.5]]), torch.tensor([0]))
    tensor([-0.5000])
    """

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The margin.

        Args:
            logits: [N, K] float32, K >= 2.
            targets: [N] int64.

        Returns:
            [N] float32.
        """
        column = targets.unsqueeze(1)
        wrong = logits.scatter(1, column, -math.inf).amax(dim=1)
        return wrong - logits.gather(1, column).squeeze(1)
