"""Attacks that want one particular wrong answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from medadv import _arguments
from medadv.objectives.cross_entropy import CrossEntropy
from medadv.objectives.dlr import wrong_classes
from medadv.objectives.objective import Objective, Situation

GOALS = ("least likely", "most likely")


@dataclass(frozen=True)
class Targeted:
    """Lead each image to one class; only that answer is a success.

    What is raised is -objective(logits, goal): with `CrossEntropy` the log-probability of the goal, with `Margin` the
    logit of the goal less the largest other one, above 0 exactly at the goal. For one class per image.

    Args:
        goal: a class number, for all images (no image may have it as its right class); or "least likely" or
            "most likely", the wrong class with the smallest or the largest logit of the clean image.
        objective: of the goal, falls as the victim comes nearer to answering it.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> Targeted(goal=2)(torch.tensor([[3.0, 1.0, 3.0]]), torch.tensor([0]))
    tensor([-0.7586])
    """

    goal: int | str = "least likely"
    objective: Objective = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        if isinstance(self.goal, str):
            _arguments.choice(self.goal, "goal", GOALS)
        else:
            object.__setattr__(self, "goal", _arguments.whole(self.goal, "goal", at_least=0))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The objective of a clean image.

        Args:
            logits: [N, K] float32, K >= 2.
            targets: [N] int64, the right classes.

        Returns:
            [N] float32.

        Raises:
            ValueError: the goal is no class of the victim, or the right class of an image.
        """
        return -self.objective(logits, self.goals(logits, targets))

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        """The objective on the way; goals are those of the clean images."""
        return -self.objective(logits, self.goals(situation.clean_logits, targets))

    def goals(self, clean_logits: Tensor, targets: Tensor) -> Tensor:
        """The class that each image must be taken for.

        Args:
            clean_logits: [N, K].
            targets: [N] int64, the right classes.

        Returns:
            [N] int64.

        Raises:
            ValueError: the goal is no class of the victim, or the right class of an image.
        """
        wrong = wrong_classes(clean_logits, targets)
        if isinstance(self.goal, str):
            return wrong[:, 0 if self.goal == "most likely" else -1]
        if self.goal >= clean_logits.shape[1]:
            raise ValueError(f"goal must be one of the {clean_logits.shape[1]} classes, got {self.goal}.")
        if bool((targets == self.goal).any()):
            raise ValueError(f"goal must not be the right class of an image, got {self.goal}: leave such images out.")
        return torch.full_like(targets, self.goal)
