"""What a victim's logits mean for an attack: its answers, and whether it is fooled."""

from __future__ import annotations

from torch import Tensor

from medadv.models.victim import Victim


def outcome(victim: Victim, logits: Tensor, targets: Tensor, goals: Tensor | None) -> tuple[Tensor, Tensor]:
    """The answers, and whether the victim is fooled.

    Args:
        victim: the model under attack.
        logits: [M, K] of it, without gradients.
        targets: [M] int64, or [M, K] where its task is "multilabel".
        goals: [M], the classes that the images must be taken for; None where any wrong answer is a success.

    Returns:
        [M] int64, or [M, K] where the task is "multilabel"; and bool [M].

    >>> import torch
    >>> victim = Victim(torch.nn.Identity())
    >>> logits, targets = torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([0])
    >>> outcome(victim, logits, targets, None), outcome(victim, logits, targets, torch.tensor([2]))
    ((tensor([1]), tensor([True])), (tensor([1]), tensor([False])))
    """
    if goals is None:
        answers, right = victim.verdict(logits, targets)
        return answers, ~right
    answers = victim.task.predict(logits)
    return answers, answers == goals
