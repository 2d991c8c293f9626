"""What an attack asks a victim: it shows changed images and writes down the answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv.attacks.examples import Examples, Gathering
from medadv.attacks.gradients import refuse_not_finite
from medadv.attacks.outcome import outcome
from medadv.attacks.record import Record
from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.objectives import Margin, Objective, Undetected
from medadv.perturbations import Parameters, Perturbation
from medadv.perturbations.perturbation import distance_of


@dataclass(frozen=True, eq=False)
class Answers:
    """What the victim says of changed images.

    Attributes:
        logits: [M, K]; differentiable where gradients are on.
        margin: [M], above 0 exactly where the victim is fooled.
        predictions: [M] int64, or [M, K].
        fooled: bool [M].
    """

    logits: Tensor
    margin: Tensor
    predictions: Tensor
    fooled: Tensor

    def of_rows(self, rows: Tensor) -> Answers:
        """Those to some images.

        Args:
            rows: bool [M] or int64.

        Returns:
            With fewer rows.
        """
        return Answers(self.logits[rows], self.margin[rows], self.predictions[rows], self.fooled[rows])

    def better(self, new: Answers) -> tuple[Answers, Tensor]:
        """Of each row the new answer where it has the higher margin, or where the victim is fooled.

        Args:
            new: answers about other changes of the same examples.

        Returns:
            Answers, and bool [M], which of them are new.
        """
        raised = (new.margin > self.margin) | new.fooled
        wide = raised.unsqueeze(1)
        return Answers(
            torch.where(wide, new.logits, self.logits),
            torch.where(raised, new.margin, self.margin),
            torch.where(wide if new.predictions.ndim == 2 else raised, new.predictions, self.predictions),
            torch.where(raised, new.fooled, self.fooled),
        ), raised


class Questions:
    """Changed images that are shown to the victim, and what it said.

    Args:
        perturbation: what may change, and how much.
        victim: the model; its images and targets must have passed `Victim.check`.
        images: [N, C, *S] float32.
        targets: [N] int64.
        ids: [N] int64, numbers of the examples.
        clean_logits: [N, K] of `images`.
        goals: [N], the classes that the images must be taken for; None where any wrong answer is a success.

    Attributes:
        rows: int64, the examples to be attacked; the others are wrong already.
        logits: [N, K] of the clean images.
        margin: above 0 exactly where the victim is fooled.
        examples: gathers some of them, by their rows in ascending order, each once.
        record: what was found; the best by its margin.
    """

    def __init__(
        self,
        perturbation: Perturbation,
        victim: Victim,
        images: Tensor,
        targets: Tensor,
        ids: Tensor,
        clean_logits: Tensor,
        goals: Tensor | None = None,
    ) -> None:
        self.perturbation = perturbation
        self.victim = victim
        self.images = images.detach().clone()
        self.targets = targets.clone()
        self.ids = ids
        self.examples = Gathering(self.images, self.targets, ids, victim.bounds)
        self.goals = goals
        self.logits = clean_logits.detach().clone()
        self.margin: Objective = Undetected() if victim.guarded else Margin()
        answers, right = victim.verdict(self.logits, targets)
        self.rows = right.nonzero().flatten()
        self.record = self._new_record(self.margin(self.logits, targets), answers, ~right)

    def ask(self, rows: Tensor, step: int, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Show images to the victim and write down what it says.

        Args:
            rows: [M] int64, the examples, in ascending order, each once.
            step: steps made so far.
            parameters: of the perturbation, each [M, ...].

        Returns:
            Logits [M, K], differentiable in the parameters, and whether the victim is fooled, bool [M].
        """
        images = self.perturbation.apply(self.examples(rows).images, parameters, self.victim.bounds)
        answers = self.show(rows, step, images)
        self.note(rows, step, images, parameters, answers)
        return answers.logits, answers.fooled

    def show(self, rows: Tensor, step: int, images: Tensor) -> Answers:
        """Show images to the victim, and count that.

        Args:
            rows: [M] int64, the examples, in ascending order, each once.
            step: steps made so far.
            images: [M, C, *S].

        Returns:
            What it says, to be written down with `note` where it is worth it.
        """
        examples, logits = self.examples(rows), self.victim(images)
        self.record.count_forwards(rows, self.victim.passes)
        found = logits.detach()
        refuse_not_finite("logits", found, step, examples.ids)
        margin = self.margin(found, examples.targets)
        return Answers(logits, margin, *self._outcome(examples, found, margin))

    def note(self, rows: Tensor, step: int, images: Tensor, parameters: Parameters, answers: Answers) -> None:
        """Write down what the victim said of images that it was shown.

        Args:
            rows: [M] int64, the examples, each once.
            step: steps made so far.
            images: [M, C, *S].
            parameters: of these images.
            answers: to these images.
        """
        self.record.keep(rows, step, images, parameters, answers.margin, answers.predictions, answers.fooled)

    def result(self) -> Result:
        """The finished result."""
        record = self.record
        return record.result(
            distance_of(self.perturbation, self.images, record.parameters, record.images, self.victim.bounds)
        )

    def _new_record(self, loss: Tensor, predictions: Tensor, wrong: Tensor) -> Record:
        identity = self.perturbation.identity(self.images)
        # The clean image itself is no find: the first image that is seen replaces it.
        loss = loss.masked_fill(~wrong, -torch.inf)
        return Record(self.images, identity, loss, predictions, wrong, 0, self.victim.passes)

    def _outcome(self, examples: Examples, logits: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
        """The answers, and whether the victim is fooled, bool [M]."""
        goals = None if self.goals is None else self.goals[examples.rows]
        return outcome(self.victim, logits, examples.targets, goals)
