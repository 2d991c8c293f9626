"""The best image seen for each example while an attack runs."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv._graph import without_graph
from medadv.attacks.result import Result, Status
from medadv.perturbations import Parameters


class Record:
    """Keeps, for each example, the best that was seen: a wrong answer before a right one, then the higher loss.

    Args:
        images: [N, C, *S] clean.
        parameters: of the identity.
        loss: [N] at the clean images, minus infinity where the first image that is seen replaces them.
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
        # Somebody else's tensors until the first row is written: a copy of all images costs as much as a step.
        self._lender: str | None = "caller"
        self.images, self.parameters = without_graph(images), _without_graphs(parameters)
        self.loss, self.predictions = loss, predictions
        self.clean_predictions = predictions
        self.already_wrong = wrong
        self.step = torch.full_like(wrong, -1, dtype=torch.int64)
        self._forwards, self._backwards = _Passes(forwards), _Passes(0)
        self.passes = passes
        self._any_fooled = False

    @property
    def fooled(self) -> Tensor:
        """Whom the victim was wrong about, bool [N]."""
        return self.step >= 0

    @property
    def forwards(self) -> Tensor:
        """Passes made so far, [N] int64."""
        return self._forwards.by_row(self.step)

    @property
    def backwards(self) -> Tensor:
        """Gradients taken so far, [N] int64."""
        return self._backwards.by_row(self.step)

    def see(
        self,
        rows: Tensor,
        step: int,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        wrong: Tensor,
    ) -> bool:
        """Take note of what the victim said about changed images.

        Args:
            rows: [M] int64, the examples, in ascending order, each once.
            step: steps made so far in this restart.
            images: [M, C, *S] as shown to the victim; nothing may be written to them later, nor to what follows.
            parameters: of these images.
            loss: [M], without a graph.
            predictions: [M] int64, or [M, K] where an image has several labels.
            wrong: bool [M].

        Returns:
            Whether the victim was wrong about any.
        """
        self.count_forwards(rows, self.passes)
        return self._take(rows, step, images, parameters, loss, predictions, wrong, lent=True)

    def begin(self, rows: Tensor, loss: Tensor) -> None:
        """What is seen of rows [M] must be better than their loss [M] at the clean images, which is lent, too."""
        self.loss = loss if rows.shape[0] == self.loss.shape[0] else self.loss.index_copy(0, rows, loss)

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
        """As `see`, for images that were counted when they were shown, and that may be written to later."""
        self._take(rows, step, images, parameters, loss, predictions, wrong, lent=False)

    def count_forwards(self, rows: Tensor, passes: int) -> None:
        """Count passes of rows [M] in ascending order, each once."""
        self._forwards.add(rows, passes, self.step)

    def count_backwards(self, rows: Tensor, passes: int | Tensor) -> None:
        """Count gradients of rows [M] in ascending order, each once; `passes` may be one number per row."""
        self._backwards.add(rows, passes, self.step)

    def result(self, distance: Tensor) -> Result:
        """The finished result.

        Args:
            distance: [N] of the parameters kept.

        Returns:
            One row per image.
        """
        if self._lender == "caller":
            self._own()
        status = torch.full_like(self.step, Status.FAILED, dtype=torch.uint8)
        status.masked_fill_(self.fooled, Status.SUCCESS).masked_fill_(self.already_wrong, Status.ALREADY_WRONG)
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

    def _take(
        self,
        rows: Tensor,
        step: int,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        wrong: Tensor,
        lent: bool,
    ) -> bool:
        found, new = bool(wrong.any()), wrong
        better = loss > some(self.loss, rows)
        if self._any_fooled:
            fooled = some(self.step, rows) >= 0
            new = wrong & ~fooled
            better = new | ((wrong == fooled) & better)
        elif found:
            better |= wrong
        self._keep(rows, better, images, parameters, loss, predictions, lent)
        if found:
            self._any_fooled = True
            self._note_first(rows, step, new)
        return found

    def _keep(
        self,
        rows: Tensor,
        better: Tensor,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        lent: bool = False,
    ) -> None:
        chosen = better.nonzero().flatten()
        if chosen.shape[0] == 0:
            return
        # Often all of them are better: then they need not be gathered first, nor copied where they are lent.
        every = chosen.shape[0] == rows.shape[0]
        if lent and every and rows.shape[0] == self.images.shape[0]:
            self._lender = "search"
            self.images, self.parameters = without_graph(images), _without_graphs(parameters)
            self.loss, self.predictions = loss, predictions
            return
        self._own()
        kept, those = (rows, None) if every else (rows[chosen], chosen)
        self.loss.index_copy_(0, kept, _of(loss, those))
        self.predictions.index_copy_(0, kept, _of(predictions, those))
        self.images.index_copy_(0, kept, _of(images, those))
        for name, values in parameters.items():
            self.parameters[name].index_copy_(0, kept, _of(values, those))

    def _own(self) -> None:
        """Make what is kept tensors that may be written to."""
        if self._lender is not None:
            self._lender = None
            self.images, self.loss, self.predictions = self.images.clone(), self.loss.clone(), self.predictions.clone()
            self.parameters = {name: values.clone() for name, values in self.parameters.items()}

    def _note_first(self, rows: Tensor, step: int, new: Tensor) -> None:
        if rows.shape[0] < self.already_wrong.shape[0]:
            new = torch.zeros_like(self.already_wrong).index_copy_(0, rows, new)
        self.step.masked_fill_(new, step)


class _Passes:
    """Passes per example; those of all examples are one number, as most of them are."""

    def __init__(self, of_all: int) -> None:
        self._of_all = of_all
        self._of_some: Tensor | None = None

    def add(self, rows: Tensor, passes: int | Tensor, like: Tensor) -> None:
        every = rows.shape[0] == like.shape[0]
        if every and isinstance(passes, int):
            self._of_all += passes
            return
        if self._of_some is None:
            self._of_some = torch.zeros_like(like)
        if every:
            self._of_some += passes
        else:
            self._of_some[rows] += passes

    def by_row(self, like: Tensor) -> Tensor:
        return torch.full_like(like, self._of_all) if self._of_some is None else self._of_some + self._of_all


def some(values: Tensor, rows: Tensor) -> Tensor:
    """Of some rows, or of all of them without a copy.

    Args:
        values: [N, ...].
        rows: [M] int64, in ascending order, each once.

    Returns:
        [M, ...], to be read only.

    >>> some(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([0, 2]))
    tensor([3., 5.])
    """
    # In a step this is asked many times, and `len` of a tensor takes four times as long.
    return values if rows.shape[0] == values.shape[0] else values[rows]


def _without_graphs(parameters: Parameters) -> Parameters:
    return {name: without_graph(values) for name, values in parameters.items()}


def _of(values: Tensor, chosen: Tensor | None) -> Tensor:
    values = without_graph(values)
    return values if chosen is None else values.index_select(0, chosen)
