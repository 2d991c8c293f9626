"""Difference of logits ratio."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medadv import _arguments
from medadv.objectives.margin import Margin
from medadv.objectives.objective import Situation

_FEWEST_CLASSES = 3
# As AutoAttack's: no division by zero where all logits are equal.
_TINY = 1e-12


@dataclass(frozen=True)
class DLR:
    """The margin divided by the largest logit less the third largest; the size of the logits plays no part.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
    (2020). Two logits, and labels that are each there or not, leave nothing to divide by that is not the margin itself:
    there it is `Margin` (ours).

    >>> import torch
    >>> DLR()(torch.tensor([[3.0, 1.0, 2.5]]), torch.tensor([0]))
    tensor([-0.2500])
    """

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The ratio.

        Args:
            logits: [N, K] float32.
            targets: [N] int64 class numbers, or [N, K] int64 of 0 and 1.

        Returns:
            [N] float32; above 0 exactly where the victim is wrong.
        """
        margin = Margin()(logits, targets)
        if _no_ratio(logits, targets):
            return margin
        ordered = logits.sort(dim=1, descending=True).values
        return margin / (ordered[:, 0] - ordered[:, 2] + _TINY)


@dataclass(frozen=True)
class TargetedDLR:
    """DLR that leads towards one wrong class in each restart; any wrong answer is a success.

    (z_t - z_y) / (z_1 - (z_3 + z_4) / 2), z_1 >= z_2 >= ... the logits in order, y the right class (Croce and Hein,
    2020). In restart r the class t is the one with the (r + 1)-th largest logit of the clean image among the wrong
    ones, from the start again after `classes` of them, or after all. Three classes are divided by z_1 - z_3, two by
    nothing (ours).

    Args:
        classes: how many wrong classes take turns, at least 1; 9 in AutoAttack.

    >>> import torch
    >>> TargetedDLR()(torch.tensor([[3.0, 1.0, 2.5, 0.0]]), torch.tensor([0]))
    tensor([-0.2000])
    """

    classes: int = 9

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _arguments.whole(self.classes, "classes", at_least=1))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The ratio for the most likely wrong class.

        Args:
            logits: [N, K] float32, K >= 2.
            targets: [N] int64.

        Returns:
            [N] float32.
        """
        return _towards(logits, targets, wrong_classes(logits, targets)[:, 0])

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        """The ratio for the class whose turn it is."""
        order = wrong_classes(situation.clean_logits, targets)
        return _towards(logits, targets, order[:, situation.restart % min(self.classes, order.shape[1])])

    def goals(self, clean_logits: Tensor, targets: Tensor) -> None:
        """None: any wrong answer will do."""
        return


def wrong_classes(logits: Tensor, targets: Tensor) -> Tensor:
    """All classes but the right one, by falling logit.

    Args:
        logits: [N, K], K >= 2.
        targets: [N] int64.

    Returns:
        [N, K - 1] int64.

    Raises:
        ValueError: targets are not one class per image.

    >>> import torch
    >>> wrong_classes(torch.tensor([[3.0, 1.0, 2.5]]), torch.tensor([2]))
    tensor([[0, 1]])
    """
    if targets.ndim != 1:
        raise ValueError(f"a goal among the classes needs one label per image, got targets {list(targets.shape)}.")
    order = logits.argsort(dim=1, descending=True, stable=True)
    return order[order != targets.unsqueeze(1)].reshape(len(logits), -1)


def _towards(logits: Tensor, targets: Tensor, goals: Tensor) -> Tensor:
    right, goal = (logits.gather(1, classes.unsqueeze(1)).squeeze(1) for classes in (targets, goals))
    if _no_ratio(logits, targets):
        return goal - right
    ordered = logits.sort(dim=1, descending=True).values
    lower = ordered[:, 2] if logits.shape[1] == _FEWEST_CLASSES else (ordered[:, 2] + ordered[:, 3]) / 2
    return (goal - right) / (ordered[:, 0] - lower + _TINY)


def _no_ratio(logits: Tensor, targets: Tensor) -> bool:
    return targets.ndim == 2 or logits.shape[1] < _FEWEST_CLASSES
