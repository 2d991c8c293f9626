"""What an attack returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor

from medadv.perturbations import Parameters


class Status(IntEnum):
    """How an attack on one image ended.

    >>> str(Status.ALREADY_WRONG)
    'already wrong'
    """

    ALREADY_WRONG = 0
    SUCCESS = 1
    FAILED = 2

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The outcome of an attack, one row per image, on the device of the images.

    Attributes:
        images: [N, C, *S] float32. Success: the image that was shown to the victim and fooled it, bit by bit. Failed:
            the image with the highest objective seen, or the clean image where a minimum-norm attack found none.
            Already wrong: the clean image.
        status: [N] uint8, see `Status`. Where the objective has a goal (`medadv.objectives.Targeted`), success is that
            answer alone, and any other wrong one counts as failed. An image that a `medadv.detectors.GuardedVictim`
            rejects is not wrong.
        parameters: the perturbation's parameters of `images`, each [N, ...] float32; identity where already wrong.
        loss: [N] float32, the objective less the penalty at `images`; the margin for attacks without an objective.
        distance: [N] float64, the budget used by `images`, in its own units (0, or a gain of 1, where already wrong).
        predictions: [N] int64, the victim's answer to `images`; [N, K] of 0 and 1 where its task is "multilabel".
            A guarded victim answers K, or 1 in a last column, where it rejects an image.
        clean_predictions: the same, of the clean images.
        forwards: [N] int64, how often an image of this example was shown to the victim: 1 for the clean image (unless
            the caller brought its logits), then 1 per step, and 1 at the end of a restart that did not succeed; where
            a search starts at the clean image, its first step takes the gradient of the pass that is made anyway. More
            where gradients are taken at other images too (`medadv.attacks.Gradient`), or where the objective asks for
            the answer to another image (`medadv.objectives.Stabilised`); black-box and minimum-norm attacks ask as
            often as their docstrings say. Each answer of a `medadv.models.RandomisedVictim` counts as often as it
            draws.
        backwards: [N] int64, how many gradients of this example's objective were taken: 1 per step, or 1 per step and
            rival class, more as above.
        step: [N] int64, number of steps after which the victim was first fooled, within its restart; -1 otherwise.
    """

    images: Tensor
    status: Tensor
    parameters: Parameters
    loss: Tensor
    distance: Tensor
    predictions: Tensor
    clean_predictions: Tensor
    forwards: Tensor
    backwards: Tensor
    step: Tensor

    @property
    def success(self) -> Tensor:
        """Images that were right before and wrong after, bool [N]."""
        return self.status == Status.SUCCESS

    @property
    def robust(self) -> Tensor:
        """Images that are still right, bool [N]."""
        return self.status == Status.FAILED

    @property
    def robust_accuracy(self) -> float:
        """Share of all images, also of those already wrong, that are still right."""
        return float(self.robust.double().mean())

    def success_within(self, budget: float) -> Tensor:
        """Images that were fooled at a distance of at most `budget`: the outcome of a minimum-norm attack for a budget.

        Args:
            budget: in the units of `distance`.

        Returns:
            bool [N].
        """
        return self.success & (self.distance <= budget)

    def robust_accuracy_within(self, budget: float) -> float:
        """Share of all images, also of those already wrong, that are right and not fooled within a budget.

        Args:
            budget: in the units of `distance`.

        Returns:
            From 0 to 1.
        """
        return float(((self.status != Status.ALREADY_WRONG) & ~self.success_within(budget)).double().mean())

    def __len__(self) -> int:
        return len(self.status)

    def __repr__(self) -> str:
        counts = [int((self.status == status).sum()) for status in Status]
        return (
            f"Result({len(self)} images: {counts[0]} already wrong, {counts[1]} fooled, {counts[2]} withstood; "
            f"robust accuracy {self.robust_accuracy:.3f})"
        )
