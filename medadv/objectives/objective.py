"""What every objective can do, and what some need to know beyond the victim's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from medadv.models.features import Features


class Objective(Protocol):
    """One number per image that an attack raises; implementations are frozen dataclasses."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The objective, higher is worse for the victim.

        Args:
            logits: [N, K] float32, of the victim's `Task`.
            targets: [N] int64 class numbers, or [N, K] int64 of 0 and 1 where an image has several labels.

        Returns:
            [N] float32.
        """
        ...


@dataclass(frozen=True, eq=False)
class Situation:
    """Where a search stands when it asks for the objective.

    Args:
        clean: [N, C, *S], the images under attack.
        images: [N, C, *S], the changed images whose logits are judged, without gradient.
        before: [N, C, *S], the changed images one step ago; None at the start of a restart.
        clean_logits: [N, K], the victim's answer to `clean`.
        restart: number of the restart, from 0.
        ask: the victim's logits [N, K] of other images [N, C, *S], one pass, without gradient.
        features: of the parts of the victim's module that the objective names, from the pass that gave the logits.
    """

    clean: Tensor
    images: Tensor
    before: Tensor | None
    clean_logits: Tensor
    restart: int
    ask: Callable[[Tensor], Tensor]
    features: Features = field(default_factory=dict)


@runtime_checkable
class Situated(Protocol):
    """An objective that depends on where the search stands; the plain call is its value at a clean image."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """As `Objective`."""
        ...

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        """The objective [N] of `logits`, the victim's answer to `situation.images`."""
        ...

    def goals(self, clean_logits: Tensor, targets: Tensor) -> Tensor | None:
        """The class [N] that each image must be taken for; None where any wrong answer is a success."""
        ...


def value_at(objective: Objective, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
    """The objective [N], whether it is situated or not."""
    at = situated(objective)
    return objective(logits, targets) if at is None else at(logits, targets, situation)


def situated(objective: Objective) -> Callable[[Tensor, Tensor, Situation], Tensor] | None:
    """`Situated.at` of an objective that has it; None where the answer and the targets are enough."""
    # Not isinstance: that of a protocol takes longer than most objectives.
    at: Callable[[Tensor, Tensor, Situation], Tensor] | None = getattr(objective, "at", None)
    return at


def goals_of(objective: Objective, clean_logits: Tensor, targets: Tensor) -> Tensor | None:
    """The classes [N] that the images must be taken for; None where any wrong answer is a success."""
    goals: Callable[[Tensor, Tensor], Tensor | None] | None = getattr(objective, "goals", None)
    return None if goals is None else goals(clean_logits, targets)


def layers_of(objective: Objective) -> tuple[str, ...]:
    """The parts of the victim's module whose features an objective needs, its field or property `layers`."""
    layers: tuple[str, ...] = getattr(objective, "layers", ())
    return layers
