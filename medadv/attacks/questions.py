"""What a black-box attack within a budget works with: it asks the victim for logits, never for a gradient."""

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

    Attributes:
        rows: int64, the examples to be attacked; the others are wrong already.
        record: the best that was seen, by its margin.
    """

    def __init__(
        self,
        perturbation: Perturbation,
        victim: Victim,
        images: Tensor,
        targets: Tensor,
        ids: Tensor,
        clean_logits: Tensor,
    ) -> None:
        self.perturbation = perturbation
        self.victim = victim
        self.images = images.detach().clone()
        self.targets = targets
        self.ids = ids
        wrong = ~victim.correct(clean_logits, targets)
        self.rows = (~wrong).nonzero().flatten()
        loss = Margin()(clean_logits, targets)
        predictions = victim.task.predict(clean_logits)
        self.record = Record(self.images, perturbation.identity(self.images), loss, predictions, wrong, forwards=0)

    def ask(self, rows: Tensor, step: int, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Show images to the victim and write down what it says.

        Args:
            rows: [M] int64, the examples, each once.
            step: questions asked before.
            parameters: of the perturbation, projected, each [M, ...].

        Returns:
            The margin [M], and whether the victim is wrong, bool [M].
        """
        images = self.perturbation.apply(self.images[rows], parameters, self.victim.bounds)
        logits = self.victim(images)
        refuse_not_finite("logits", logits, step, self.ids[rows])
        margin = Margin()(logits, self.targets[rows])
        wrong = ~self.victim.correct(logits, self.targets[rows])
        self.record.see(rows, step, images, parameters, margin, self.victim.task.predict(logits), wrong)
        return margin, wrong

    def result(self) -> Result:
        """The finished result."""
        return self.record.result(self.perturbation.distance(self.images, self.record.parameters, self.victim.bounds))
