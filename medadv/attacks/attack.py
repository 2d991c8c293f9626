"""An attack that raises an objective by gradient steps inside a budget."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from medadv.attacks.base_attack import checked_ids
from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.result import Result
from medadv.attacks.search.clean_pass import clean_pass
from medadv.attacks.search.gradient import Gradient
from medadv.attacks.search.search import Search, maximise
from medadv.models.victim import Victim
from medadv.objectives import CrossEntropy, Objective
from medadv.objectives.objective import layers_of

_OF_THE_SEARCH = (
    "steps",
    "step_size",
    "momentum",
    "adaptive",
    "gradient",
    "restarts",
    "random_start",
    "draws",
    "stop_early",
    "seed",
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Attack(BudgetedAttack):
    """A perturbation, an objective, a budget and a search, as one value: comparable, hashable, printable.

    Args:
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, seed: see
            `medadv.attacks.search.Search`.
        objective: what is raised.
    """

    reach: ClassVar[float] = 2.5

    steps: int = 20
    step_size: float | None = None
    momentum: float = 0.0
    adaptive: bool = False
    gradient: Gradient = field(default_factory=Gradient)
    restarts: int = 1
    random_start: bool = True
    draws: int = 1
    stop_early: bool = True
    objective: Objective = field(default_factory=CrossEntropy)
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.objective, type) or not callable(self.objective):
            raise TypeError(f"objective must be an objective such as CrossEntropy(), got {self.objective!r}.")
        # The search checks its arguments; its values are taken, so that equal attacks compare equal.
        search = self.search
        for name in _OF_THE_SEARCH:
            object.__setattr__(self, name, getattr(search, name))
        super().__post_init__()

    @property
    @abstractmethod
    def rule(self) -> str:
        """The rule of the search's steps, see `Search`."""

    @cached_property
    def search(self) -> Search:
        """How it is searched."""
        return Search(
            steps=self.steps,
            rule=self.rule,
            step_size=self.step_size,
            momentum=self.momentum,
            adaptive=self.adaptive,
            gradient=self.gradient,
            restarts=self.restarts,
            random_start=self.random_start,
            draws=self.draws,
            stop_early=self.stop_early,
            seed=self.seed,
            reach=self.reach,
        )

    def longer(self) -> Attack:
        """The attack with twice the steps, to see whether it has converged."""
        return replace(self, steps=2 * self.steps)

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor | None = None) -> Result:
        self.check_victim(victim)
        search, family, objective = self.search, self.perturbation, self.objective
        if not search.starts_at_the_image(victim):
            return super().__call__(victim, images, targets, ids)
        clean = clean_pass(family, victim, images, targets, layers_of(objective))
        if clean is None:
            return super().__call__(victim, images, targets, ids)
        numbers = None if ids is None else checked_ids(ids, images)
        return maximise(search, family, objective, victim, images, targets, numbers, clean)

    def _run(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor) -> Result:
        return maximise(self.search, self.perturbation, self.objective, victim, images, targets, ids, clean_logits)
