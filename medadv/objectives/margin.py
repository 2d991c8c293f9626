"""Margin between the best wrong class and the right one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Margin:
    """How far the victim is from a wrong answer, in logits: above 0 exactly where it is wrong.

    One class per image: largest logit of a wrong class minus the logit of the target, the objective f6 of Carlini and
    Wagner, "Towards evaluating the robustness of neural networks" (2017), no floor. Several labels: the logit of the
    label that is nearest to being wrong, or furthest beyond, with its sign turned where the label is 1 (ours).

    >>> import torch
    >>> Margin()(torch.tensor([[3.0, 1.0, 2.5]]), torch.tensor([0]))
    tensor([-0.5000])
    >>> Margin()(torch.tensor([[3.0, 1.0, -2.5]]), torch.tensor([[1, 1, 0]]))
    tensor([-1.])
    """

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The margin.

        Args:
            logits: [N, K] float32; K >= 2 where targets are classes.
            targets: [N] int64 class numbers, or [N, K] int64 of 0 and 1.

        Returns:
            [N] float32.
        """
        if targets.ndim == 2:
            return (logits * (1 - 2 * targets)).amax(dim=1)
        column = targets.unsqueeze(1)
        wrong = logits.scatter(1, column, -math.inf).amax(dim=1)
        return wrong - logits.gather(1, column).squeeze(1)


def margin_shares(logits: Tensor, targets: Tensor) -> Tensor:
    """The slope of the margin in the logits: faster than to let autograd find it.

    Args:
        logits: [N, K], without gradients.
        targets: [N] int64 class numbers, or [N, K] int64 of 0 and 1.

    Returns:
        [N, K]; of rivals with the same logit the first has it all.

    >>> import torch
    >>> margin_shares(torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([1]))
    tensor([[ 0., -1.,  1.]])
    """
    if targets.ndim == 2:
        signs = (1 - 2 * targets).to(logits.dtype)
        rival = (logits * signs).argmax(dim=1, keepdim=True)
        return torch.zeros_like(logits).scatter_(1, rival, signs.gather(1, rival))
    column = targets.unsqueeze(1)
    rival = logits.scatter(1, column, -math.inf).argmax(dim=1, keepdim=True)
    return torch.zeros_like(logits).scatter_(1, rival, 1.0).scatter_(1, column, -1.0)
