"""The way that an attack goes, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv.attacks import Attack, Result, maximise
from medadv.models import Victim
from medadv.objectives import Margin, Objective, Situation
from medadv.objectives.objective import goals_of, value_at
from medadv.sweep.sample import Sample
from medadv.sweep.wrapped_victim import WrappedVictim


@dataclass(frozen=True, eq=False)
class Trace:
    """One restart of an attack on images that withstand it.

    Args:
        margins: [steps + 1, M], the margin of the images that were shown at each step; above 0 where they fool.
        gradients: [G, M], the largest entry of each gradient to the images that was taken.
        result: what the attack gave back.
    """

    margins: Tensor
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
    objective = _WatchedObjective(attack.objective)
    search = replace(attack.search, restarts=1, draws=1, stop_early=False)
    result = maximise(search, attack.perturbation, objective, victim, part.images, part.targets, part.ids, part.logits)
    # A step may look at other images too, for its gradient: always the same number of them, after the image itself.
    margins = objective.margins[:: max((len(objective.margins) - 1) // search.steps, 1)]
    return Trace(torch.stack(margins), torch.stack(victim.gradients), result)


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
    """Notes the margin of every answer that is judged."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.margins: list[Tensor] = []

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self._objective(logits, targets)

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        self.margins.append(Margin()(logits.detach(), targets))
        return value_at(self._objective, logits, targets, situation)

    def goals(self, clean_logits: Tensor, targets: Tensor) -> Tensor | None:
        return goals_of(self._objective, clean_logits, targets)
