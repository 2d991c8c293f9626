"""A classifier and a detector together: fooled only by what is wrong and goes undetected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medadv.detectors.detector import Detector, described, excess
from medadv.models.features import tapped
from medadv.models.task import Task, finite_range
from medadv.models.victim import Victim


class GuardedVictim(Victim):
    """A victim whose detector rejects images: an attack succeeds only with a wrong answer that goes undetected.

    Its logits [N, K + 1] are those of the K classes, and in the last column the detector's excess: how far the score is
    above the threshold, in the detector's unit. It predicts class K, "rejected", where that is above 0. A rejected
    image counts as withstood, whatever its class, so the robust accuracy of a result is the share of images on which
    the system does not err in silence; ``result.predictions == victim.rejection`` are the rejected ones. Only clean
    images that are wrong and pass the detector are already wrong.

    Attack it with `medadv.objectives.Undetected`, which knows of the last column; other objectives are refused. To see
    what an attack that ignores the detector does, use ``transfer(attack, victim, guarded, images, targets)``.

    Args:
        victim: the classifier; not randomised, not guarded itself.
        detector: fitted on it.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from torch import nn
    >>> from medadv.detectors import GaussianDetector
    >>> victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval())
    >>> images = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> detector = GaussianDetector.fit(victim, "0", images[:40], torch.arange(40) % 2, images[40:])
    >>> guarded = GuardedVictim(victim, detector)
    >>> with torch.no_grad():
    ...     logits = guarded(torch.cat([images[:2], torch.zeros(1, 1, 4, 4)]))
    >>> logits.shape, guarded.task.predict(logits)[2]
    (torch.Size([3, 3]), tensor(2))
    """

    def __init__(self, victim: Victim, detector: Detector) -> None:
        if not isinstance(victim, Victim):
            raise TypeError(f"victim must be a Victim, got {type(victim).__name__}.")
        if victim.randomised or victim.guarded:
            raise ValueError(f"victim must be neither randomised nor guarded, got {victim!r}.")
        super().__init__(
            victim.module, task=Guarded(victim.task), bounds=victim.bounds, mean=victim.mean, std=victim.std
        )
        self.classifier_task = victim.task
        self.detector = detector

    @property
    def guarded(self) -> bool:
        return True

    def configuration(self) -> dict[str, Any]:
        return {**super().configuration(), "task": self.classifier_task.name, "detector": described(self.detector)}

    @property
    def rejection(self) -> int:
        """The number K that stands for "rejected" among the predictions; known after the first answer."""
        if self.num_classes is None:
            raise ValueError("the number of classes is known after the first answer: call check or the victim first.")
        return self.num_classes - 1

    def rejected(self, logits: Tensor) -> Tensor:
        """Whether images are detected.

        Args:
            logits: [N, K + 1] of this victim.

        Returns:
            bool [N].
        """
        return logits[:, -1] > 0

    def _outputs(self, images: Tensor) -> Tensor:
        with tapped(self.module, self.detector.layers) as features:
            outputs = super()._outputs(images)
        outputs = outputs.unsqueeze(1) if outputs.ndim == 1 else outputs
        if outputs.ndim != 2:
            raise ValueError(f"a guarded model must return logits [N, K], got shape {list(outputs.shape)}.")
        return torch.cat([outputs.float(), excess(self.detector, features).unsqueeze(1)], dim=1)


@dataclass(frozen=True)
class Guarded:
    """A task with a last column in its outputs and logits, above 0 where an image is rejected.

    Predictions are those of the task, or K where an image is rejected; for findings, [N, K + 1] with a last column that
    is 1 there.

    Args:
        task: what the classifier is asked.
    """

    task: Task

    @property
    def name(self) -> str:
        return f"guarded {self.task.name}"

    def logits(self, outputs: Tensor) -> Tensor:
        return torch.cat([self.task.logits(outputs[:, :-1]), outputs[:, -1:].float()], dim=1)

    def check_outputs(self, outputs: Tensor, count: int) -> None:
        self.task.check_outputs(outputs[:, :-1], count)
        finite_range(outputs[:, -1])

    def check_targets(self, targets: Tensor, count: int) -> None:
        self.task.check_targets(targets, count)

    def check_labels(self, targets: Tensor, num_classes: int) -> None:
        self.task.check_labels(targets, num_classes - 1)

    def predict(self, logits: Tensor) -> Tensor:
        return _or_rejected(self.task.predict(logits[:, :-1]), logits)

    def verdict(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        answers, right = self.task.verdict(logits[:, :-1], targets)
        return _or_rejected(answers, logits), right | (logits[:, -1] > 0)


def _or_rejected(answers: Tensor, logits: Tensor) -> Tensor:
    """Answers of the classifier, and what stands for "rejected"."""
    rejected = logits[:, -1] > 0
    if answers.ndim == 2:
        return torch.cat([answers, rejected.unsqueeze(1).to(answers)], dim=1)
    return torch.where(rejected, logits.shape[1] - 1, answers)
