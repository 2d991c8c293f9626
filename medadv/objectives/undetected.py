"""Wrong answers that go undetected."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from medadv import _arguments
from medadv.objectives.margin import Margin
from medadv.objectives.objective import Objective, Situation, goals_of, layers_of, value_at


@dataclass(frozen=True)
class Undetected:
    objective: Objective = field(default_factory=Margin)
    weight: float = 1.0
    way: str = "selective"
    room: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _arguments.real(self.weight, "weight", above=0))

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of the objective."""
        return layers_of(self.objective)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self._joint(self.objective(logits[:, :-1], targets), logits, targets)

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        """The objective on the way."""
        inner = _of_the_classes(situation)
        return self._joint(value_at(self.objective, logits[:, :-1], targets, inner), logits, targets)

    def goals(self, clean_logits: Tensor, targets: Tensor) -> Tensor | None:
        """Those of the objective."""
        return goals_of(self.objective, clean_logits[:, :-1], targets)

    def _joint(self, value: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        excess = logits[:, -1]
        m = Margin()(logits[:, :-1], targets)
        if self.way == "selective":
            return torch.where(m > 0, -self.weight * excess, value)
        if self.way == "min":
            return torch.minimum(value, -self.weight * excess)
        if self.way == "hinge":
            return value - self.weight * (excess + self.room).clamp_min(0)
        if self.way == "double":
            return value.clamp_max(self.room) - self.weight * (excess + self.room).clamp_min(0)
        raise ValueError


def _of_the_classes(situation: Situation) -> Situation:
    """The situation as an objective of the classes alone must see it."""

    def ask(images: Tensor) -> Tensor:
        return situation.ask(images)[:, :-1]

    return replace(situation, clean_logits=situation.clean_logits[:, :-1], ask=ask)
