"""Cross-entropy of one class, margin of several labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medadv.objectives.cross_entropy import CrossEntropy
from medadv.objectives.margin import Margin


@dataclass(frozen=True)
class CrossEntropyOrMargin:
    """`CrossEntropy` where an image has one class, `Margin` where it has several labels (ours).

    For attacks whose papers raise the cross-entropy of a class and say nothing of several labels. There its sum pushes
    all labels at once, though one wrong label is enough.

    >>> import torch
    >>> CrossEntropyOrMargin()(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([0.6931])
    >>> CrossEntropyOrMargin()(torch.tensor([[3.0, 1.0, -2.5]]), torch.tensor([[1, 1, 0]]))
    tensor([-1.])
    """

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The objective.

        Args:
            logits: [N, K] float32.
            targets: [N] int64 class numbers, or [N, K] int64 of 0 and 1.

        Returns:
            [N] float32.
        """
        objective = CrossEntropy() if targets.ndim == 1 else Margin()
        return objective(logits, targets)
