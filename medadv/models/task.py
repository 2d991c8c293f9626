"""What a victim is asked: the shape of its outputs and targets, and when an answer is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

# Logits of single answers cannot be told from probabilities by a few outputs alone.
_OUTPUTS_TO_JUDGE = 16


@runtime_checkable
class Task(Protocol):
    """What the lab needs to know of a task; fields of a task (an ignored label, say) belong to it."""

    @property
    def name(self) -> str:
        """The word for the task in commands and reports."""
        ...

    def logits(self, outputs: Tensor) -> Tensor:
        """Logits [N, K] float32 from what the module returned."""
        ...

    def check_outputs(self, outputs: Tensor, count: int) -> None:
        """Raise if `outputs` cannot be the logits of `count` images, or are not finite (see `finite_range`)."""
        ...

    def check_targets(self, targets: Tensor, count: int) -> None:
        """Raise if `targets` cannot be the targets of `count` images."""
        ...

    def check_labels(self, targets: Tensor, num_classes: int) -> None:
        """Raise if a label names no class, or there is not one for each."""
        ...

    def predict(self, logits: Tensor) -> Tensor:
        """The answer for each image."""
        ...

    def verdict(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The answers as `predict` gives them, and whether they are right, bool [N]."""
        ...


class NoSuchClassError(ValueError):
    """A label that names no class of the model.

    Args:
        label: the number that was given.
        num_classes: how many classes the model has.
        row: number of the first target with that label.

    >>> print(NoSuchClassError(label=7, num_classes=2, row=0))
    targets must lie in 0 to 1 (2 classes), got 7.
    """

    def __init__(self, label: int, num_classes: int, row: int) -> None:
        super().__init__(label, num_classes, row)
        self.label, self.num_classes, self.row = label, num_classes, row

    def __str__(self) -> str:
        return f"targets must lie in 0 to {self.num_classes - 1} ({self.num_classes} classes), got {self.label}."


class _OneLabel:
    """One class per image: shared by multiclass and binary."""

    def check_targets(self, targets: Tensor, count: int) -> None:
        if not isinstance(targets, Tensor):
            raise TypeError(f"targets must be a torch.Tensor, got {type(targets).__name__}.")
        if targets.dtype != torch.int64:
            raise TypeError(f"targets must be int64 class numbers, got {targets.dtype}.")
        if tuple(targets.shape) != (count,):
            hint = ': several labels per image are task="multilabel"' if targets.ndim == 2 else ""
            raise ValueError(
                f"targets must have shape [{count}], one label per image, got {list(targets.shape)}{hint}."
            )

    def check_labels(self, targets: Tensor, num_classes: int) -> None:
        extremes = targets.aminmax()
        low, high = int(extremes.min), int(extremes.max)
        if low < 0 or high >= num_classes:
            wrong = low if low < 0 else high
            raise NoSuchClassError(wrong, num_classes, row=targets.tolist().index(wrong))

    def predict(self, logits: Tensor) -> Tensor:
        return logits.argmax(dim=1)

    def verdict(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        answers = self.predict(logits)
        return answers, answers == targets


@dataclass(frozen=True)
class Multiclass(_OneLabel):
    """One of K >= 2 classes per image; the module returns logits [N, K].

    >>> Multiclass().predict(torch.tensor([[0.0, 2.0, 1.0]]))
    tensor([1])
    """

    @property
    def name(self) -> str:
        return "multiclass"

    def logits(self, outputs: Tensor) -> Tensor:
        return outputs.float()

    def check_outputs(self, outputs: Tensor, count: int) -> None:
        if outputs.ndim != 2 or outputs.shape[0] != count:
            raise ValueError(f"the model must return logits [{count}, classes], got shape {list(outputs.shape)}.")
        if outputs.shape[1] < 2:
            raise ValueError(
                f'a multiclass model must return at least 2 logits, got {outputs.shape[1]}: say task="binary".'
            )
        _refuse_probabilities(outputs)


@dataclass(frozen=True)
class Binary(_OneLabel):
    """Two classes; the module returns logits [N, 2], or one logit [N, 1] or [N] of class 1.

    One logit z becomes [0, z]: the same cross-entropy (softmax of [0, z] is the sigmoid of z) and the same decision.

    >>> Binary().logits(torch.tensor([[3.0]]))
    tensor([[0., 3.]])
    """

    @property
    def name(self) -> str:
        return "binary"

    def logits(self, outputs: Tensor) -> Tensor:
        if outputs.ndim == 2 and outputs.shape[1] == 2:
            return outputs.float()
        one = outputs.float().reshape(-1, 1)
        return torch.cat([torch.zeros_like(one), one], dim=1)

    def check_outputs(self, outputs: Tensor, count: int) -> None:
        if tuple(outputs.shape) not in {(count,), (count, 1), (count, 2)}:
            raise ValueError(
                f"a binary model must return one or two logits per image, [{count}], [{count}, 1] or [{count}, 2], "
                f"got shape {list(outputs.shape)}."
            )
        if outputs.numel() == 2 * count and outputs.ndim == 2 and outputs.shape[1] == 2:
            _refuse_probabilities(outputs)
        else:
            _refuse_sigmoid(outputs)


@dataclass(frozen=True)
class Multilabel:
    """K findings that are each there or not; the module returns logits [N, K], targets are [N, K] of 0 and 1.

    A finding is predicted where its logit is above 0. The answer to an image is right only if all K findings are, so
    an attack succeeds as soon as one of them is wrong (the subset accuracy of the literature, its strictest measure).

    >>> Multilabel().predict(torch.tensor([[-1.0, 2.0, 1.0]]))
    tensor([[0, 1, 1]])
    """

    @property
    def name(self) -> str:
        return "multilabel"

    def logits(self, outputs: Tensor) -> Tensor:
        return outputs.float()

    def check_outputs(self, outputs: Tensor, count: int) -> None:
        if outputs.ndim != 2 or outputs.shape[0] != count or outputs.shape[1] == 0:
            raise ValueError(f"the model must return logits [{count}, labels], got shape {list(outputs.shape)}.")
        _refuse_sigmoid(outputs)

    def check_targets(self, targets: Tensor, count: int) -> None:
        if not isinstance(targets, Tensor):
            raise TypeError(f"targets must be a torch.Tensor, got {type(targets).__name__}.")
        if targets.dtype != torch.int64:
            raise TypeError(f"targets must be int64, 0 or 1 for each label, got {targets.dtype}.")
        if targets.ndim != 2 or len(targets) != count:
            raise ValueError(f"targets must have shape [{count}, labels], got {list(targets.shape)}.")

    def check_labels(self, targets: Tensor, num_classes: int) -> None:
        if targets.shape[1] != num_classes:
            raise ValueError(f"targets must have {num_classes} labels per image, as the model, got {targets.shape[1]}.")
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high > 1:
            raise ValueError(f"targets must be 0 or 1 for each label, got {low if low < 0 else high}.")

    def predict(self, logits: Tensor) -> Tensor:
        return (logits > 0).long()

    def verdict(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        answers = self.predict(logits)
        return answers, (answers == targets).all(dim=1)


TASKS: dict[str, type[Multiclass] | type[Binary] | type[Multilabel]] = {
    "multiclass": Multiclass,
    "binary": Binary,
    "multilabel": Multilabel,
}


def finite_range(outputs: Tensor) -> tuple[float, float]:
    """The lowest and the highest output of a model.

    Args:
        outputs: [...], at least one, without a graph.

    Raises:
        ValueError: NaN or infinity among them.

    >>> finite_range(torch.tensor([[0.5, -2.0]]))
    (-2.0, 0.5)
    """
    extremes = outputs.aminmax()  # NaN goes through
    lowest, highest = float(extremes.min), float(extremes.max)
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise ValueError("the model must return finite logits, got NaN or infinity for images inside the bounds.")
    return lowest, highest


def _refuse_sigmoid(outputs: Tensor) -> None:
    lowest, highest = finite_range(outputs)
    if outputs.numel() >= _OUTPUTS_TO_JUDGE and lowest >= 0 and highest <= 1:
        raise ValueError(
            f"the model must return logits, but its outputs for all {len(outputs)} images lie in [0, 1] "
            "like probabilities: remove the final sigmoid."
        )


def _refuse_probabilities(outputs: Tensor) -> None:
    lowest, _ = finite_range(outputs)
    if lowest < 0:
        return
    # Check C1 of the evaluation contract, AutoAttack's check_range_output; half types cannot sum to one so closely.
    tolerance = 1e-5 if outputs.dtype in (torch.float32, torch.float64) else 1e-2
    sums = outputs.double().sum(dim=1)
    if bool(((sums - 1).abs() <= tolerance).all()):
        raise ValueError(
            "the model must return logits, but its outputs are non-negative and sum to 1 "
            "like probabilities: remove the final softmax."
        )
