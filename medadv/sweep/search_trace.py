"""The way that an attack goes, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv.attacks import Attack, Result, maximise
from medadv.models import Victim
from medadv.objectives import Margin, Objective, Situation, Undetected
from medadv.objectives.objective import goals_of, layers_of, value_at
from medadv.sweep.sample import Sample
from medadv.sweep.wrapped_victim import WrappedVictim


@dataclass(frozen=True, eq=False)
class Trace:
    """One restart of an attack on images that withstand it.

    Args:
        margins: [steps + 1, M], the margin of the images that were shown at each step; above 0 where they fool. That of
            a guarded victim is `medadv.objectives.Undetected`.
        stages: what is raised one after the other, each [steps + 1, M]: the margin. Of a guarded victim the margin of
            its classes, up to 0, where an answer is wrong; and the detector's excess with its sign turned, at the last
            step so far where the answer was wrong, or before it is, where it first will be.
        gradients: [G, M], the largest entry of each gradient to the images that was taken.
        result: what the attack gave back.
    """

    margins: Tensor
    stages: tuple[Tensor, ...]
    gradients: Tensor
    result: Result


def trace(attack: Attack, sample: Sample, rows: Tensor) -> Trace:
    """Let an attack go all its way, without letting go of images that are fooled.

    Args:
        attack: the attack; its first restart is followed.
        sample: the images.
        rows: int64 [M], those that are attacked, at least one.

    Returns:
        What was seen on the way.
    """
    part = sample.part(rows)
    victim = _WatchedVictim(part.victim)
    objective = (_WatchedUndetected if victim.guarded else _WatchedObjective)(attack.objective)
    search = replace(attack.search, restarts=1, draws=1, stop_early=False)
    result = maximise(search, attack.perturbation, objective, victim, part.images, part.targets, part.ids, part.logits)
    # A step may look at other images too, for its gradient: always the same number of them, after the image itself.
    answers = torch.stack(objective.answers[:: max((len(objective.answers) - 1) // search.steps, 1)])
    margin = Undetected() if victim.guarded else Margin()
    margins = torch.stack([margin(logits, part.targets) for logits in answers])
    stages = _stages(answers, part.targets) if victim.guarded else (margins,)
    return Trace(margins, stages, torch.stack(victim.gradients), result)


def _stages(answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What is raised of a guarded victim's answers [S, M, K + 1], one after the other."""
    classes = torch.stack([Margin()(logits[:, :-1], targets) for logits in answers])
    return classes.clamp_max(0), _held(-answers[:, :, -1], classes > 0)


def _held(values: Tensor, known: Tensor) -> Tensor:
    """Of values [S, M] the last one known at each place, or before there is one, the first; 0 where none is."""
    places = torch.arange(len(values), device=values.device).unsqueeze(1).expand_as(values)
    first = torch.where(known, places, len(values)).amin(dim=0)
    last = torch.where(known, places, -1).cummax(dim=0).values
    held = values.gather(0, torch.maximum(last, first.clamp_max(len(values) - 1)))
    return torch.where(known.any(dim=0), held, torch.zeros_like(held))


class _WatchedVictim(WrappedVictim):
    """Notes the size of every gradient that reaches an image."""

    def __init__(self, victim: Victim) -> None:
        super().__init__(victim)
        self.gradients: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            images.register_hook(self._note)
        return self._victim(images)

    def _note(self, gradient: Tensor) -> None:
        self.gradients.append(gradient.detach().abs().flatten(1).amax(dim=1))


class _WatchedObjective:
    """Notes every answer that is judged."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.answers: list[Tensor] = []

    @property
    def layers(self) -> tuple[str, ...]:
        return layers_of(self._objective)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self._objective(logits, targets)

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        self.answers.append(logits.detach())
        return value_at(self._objective, logits, targets, situation)

    def goals(self, clean_logits: Tensor, targets: Tensor) -> Tensor | None:
        return goals_of(self._objective, clean_logits, targets)


class _WatchedUndetected(_WatchedObjective, Undetected):
    """The same, known to know of a detector."""
