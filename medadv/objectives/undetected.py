"""Wrong answers that go undetected."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from medadv.objectives.margin import Margin
from medadv.objectives.objective import Objective, Situation, goals_of, layers_of, value_at


@dataclass(frozen=True)
class Undetected:
    """Fool the classifier, then its detector: for `medadv.detectors.GuardedVictim`, and for it alone.

    While the classifier's answer is not yet as wanted, the objective of its logits; from then on, how far the
    detector's score is below the threshold, in the detector's unit. So each step follows one gradient and spends
    nothing on what has been reached: the selective way of Bryniarski et al., "Evading adversarial example detection
    defenses with orthogonal projected gradient descent" (2022). With `Margin` it is above 0 exactly where the answer is
    wrong and goes undetected.

    Args:
        objective: of the classes; its goals are kept.

    >>> logits = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 1.0, -0.5]])  # the last column is the detector
    >>> Undetected()(logits, torch.tensor([0, 0, 0]))
    tensor([-1.0000, -0.5000,  0.5000])
    """

    objective: Objective = field(default_factory=Margin)

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of the objective."""
        return layers_of(self.objective)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The objective of a clean image.

        Args:
            logits: [N, K + 1] float32 of a guarded victim.
            targets: [N] int64, or [N, K] int64 of 0 and 1.

        Returns:
            [N] float32.
        """
        value = self.objective(logits[:, :-1], targets)
        return _selected(value, logits, _fooled(logits, targets, self.goals(logits, targets)))

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        """The objective on the way."""
        value = value_at(self.objective, logits[:, :-1], targets, _of_the_classes(situation))
        return _selected(value, logits, _fooled(logits, targets, self.goals(situation.clean_logits, targets)))

    def goals(self, clean_logits: Tensor, targets: Tensor) -> Tensor | None:
        """Those of the objective."""
        return goals_of(self.objective, clean_logits[:, :-1], targets)


def _selected(value: Tensor, logits: Tensor, fooled: Tensor) -> Tensor:
    return torch.where(fooled, -logits[:, -1], value)


def _fooled(logits: Tensor, targets: Tensor, goals: Tensor | None) -> Tensor:
    """Whether the classifier alone answers as the attack wants, bool [N]."""
    classes = logits[:, :-1]
    return Margin()(classes, targets) > 0 if goals is None else classes.argmax(dim=1) == goals


def _of_the_classes(situation: Situation) -> Situation:
    """The situation as an objective of the classes alone sees it."""

    def ask(images: Tensor) -> Tensor:
        return situation.ask(images)[:, :-1]

    return replace(situation, clean_logits=situation.clean_logits[:, :-1], ask=ask)
