"""What an attack asks a victim: it shows changed images and writes down the answers."""

from __future__ import annotations

from torch import Tensor

from medadv.attacks.gradients import refuse_not_finite
from medadv.attacks.record import Record
from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.objectives import Margin
from medadv.perturbations import Parameters, Perturbation


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
        self.targets = targets
        self.ids = ids
        self.goals = goals
        self.logits = clean_logits.detach().clone()
        wrong = ~victim.correct(self.logits, targets)
        self.rows = (~wrong).nonzero().flatten()
        loss = Margin()(self.logits, targets)
        self.record = self._new_record(loss, victim.task.predict(self.logits), wrong)

    def ask(self, rows: Tensor, step: int, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Show images to the victim and write down what it says.

        Args:
            rows: [M] int64, the examples, each once.
            step: steps made so far.
            parameters: of the perturbation, each [M, ...].

        Returns:
            Logits [M, K], differentiable in the parameters, and whether the victim is fooled, bool [M].
        """
        images = self.perturbation.apply(self.images[rows], parameters, self.victim.bounds)
        logits = self.victim(images)
        refuse_not_finite("logits", logits, step, self.ids[rows])
        answers = logits.detach()
        margin = Margin()(answers, self.targets[rows])
        fooled = self._fooled(rows, answers, margin)
        self.record.see(rows, step, images, parameters, margin, self.victim.task.predict(answers), fooled)
        return logits, fooled

    def result(self) -> Result:
        """The finished result."""
        return self.record.result(self.perturbation.distance(self.images, self.record.parameters, self.victim.bounds))

    def _new_record(self, loss: Tensor, predictions: Tensor, wrong: Tensor) -> Record:
        identity = self.perturbation.identity(self.images)
        return Record(self.images, identity, loss, predictions, wrong, forwards=0)

    def _fooled(self, rows: Tensor, logits: Tensor, margin: Tensor) -> Tensor:
        if self.goals is not None:
            return self.victim.task.predict(logits) == self.goals[rows]
        return ~self.victim.correct(logits, self.targets[rows])
