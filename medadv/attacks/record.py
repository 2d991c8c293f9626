"""The best image seen for each example while an attack runs."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.result import Result, Status
from medadv.perturbations import Parameters


class Record:
    """Keeps, for each example, the best that was seen: a wrong answer before a right one, then the higher loss.

    Args:
        images: [N, C, *S] clean.
        parameters: of the identity.
        loss: [N] at the clean images.
        predictions: [N] of the clean images, or [N, K] where an image has several labels.
        wrong: bool [N], already wrong; these rows stay clean.
        forwards: passes already made per image.
        passes: how many an answer of the victim takes.
    """

    def __init__(
        self,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        wrong: Tensor,
        forwards: int,
        passes: int = 1,
    ) -> None:
        count = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        self.images = images.clone()
        self.parameters = {name: values.clone() for name, values in parameters.items()}
        # The clean image itself is no find: the first image that is seen replaces it.
        self.loss = torch.where(wrong, loss, torch.full_like(loss, -torch.inf))
        self.clean_predictions = predictions.clone()
        self.predictions = predictions.clone()
        self.already_wrong = wrong
        self.fooled = torch.zeros_like(wrong)
        self.step = count - 1
        self.forwards = count + forwards
        self.backwards = count.clone()
        self.passes = passes

    def see(
        self,
        rows: Tensor,
        step: int,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        wrong: Tensor,
    ) -> None:
        """Take note of what the victim said about changed images.

        Args:
            rows: [M] int64, the examples.
            step: steps made so far in this restart.
            images: [M, C, *S] as shown to the victim.
            parameters: of these images.
            loss: [M].
            predictions: [M] int64, or [M, K] where an image has several labels.
            wrong: bool [M].
        """
        self.forwards[rows] += self.passes
        self.keep(rows, step, images, parameters, loss, predictions, wrong)

    def keep(
        self,
        rows: Tensor,
        step: int,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        wrong: Tensor,
    ) -> None:
        """As `see`, for images that were counted when they were shown."""
        fooled = self.fooled[rows]
        better = (wrong & ~fooled) | ((wrong == fooled) & (loss.detach() > self.loss[rows]))
        self._keep(rows, better, images, parameters, loss, predictions)
        self._note_first(rows, step, wrong)

    def result(self, distance: Tensor) -> Result:
        """The finished result.

        Args:
            distance: [N] of the parameters kept.

        Returns:
            One row per image.
        """
        status = torch.full_like(self.step, Status.FAILED, dtype=torch.uint8)
        status[self.fooled] = Status.SUCCESS
        status[self.already_wrong] = Status.ALREADY_WRONG
        return Result(
            images=self.images,
            status=status,
            parameters=self.parameters,
            loss=self.loss,
            distance=distance,
            predictions=self.predictions,
            clean_predictions=self.clean_predictions,
            forwards=self.forwards,
            backwards=self.backwards,
            step=self.step,
        )

    def _keep(
        self, rows: Tensor, better: Tensor, images: Tensor, parameters: Parameters, loss: Tensor, predictions: Tensor
    ) -> None:
        chosen = better.nonzero().flatten()
        if len(chosen) == 0:
            return
        kept = rows[chosen]
        # Often all of them are better: then they need not be gathered first.
        every = len(chosen) == len(rows)
        self.images.index_copy_(0, kept, _of(images, None if every else chosen))
        for name, values in parameters.items():
            self.parameters[name].index_copy_(0, kept, _of(values, None if every else chosen))
        self.loss[kept] = loss.detach()[chosen]
        self.predictions[kept] = predictions[chosen]

    def _note_first(self, rows: Tensor, step: int, wrong: Tensor) -> None:
        new = wrong & ~self.fooled[rows]
        if bool(new.any()):
            first = rows[new]
            self.step[first] = step
            self.fooled[first] = True


def _of(values: Tensor, chosen: Tensor | None) -> Tensor:
    return values.detach() if chosen is None else values.detach().index_select(0, chosen)
