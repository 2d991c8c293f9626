"""Cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class CrossEntropy:
    """-log of the probability that the victim gives to the targets of each image.

    One class per image: -log softmax(logits)[target]. Several labels: the binary cross-entropy of the sigmoid of each
    logit, summed over the labels. Its gradient fades where the victim is very sure (a logit gap above about 80 in
    float32); `Margin` does not.

    >>> import torch
    >>> CrossEntropy()(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([0.6931])
    >>> CrossEntropy()(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 0]]))
    tensor([1.3863])
    """

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy.

        Args:
            logits: [N, K] float32.
            targets: [N] int64 class numbers, or [N, K] int64 of 0 and 1.

        Returns:
            [N] float32, at least 0.
        """
        if targets.ndim == 1:
            return F.cross_entropy(logits, targets, reduction="none")
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").sum(dim=1)
