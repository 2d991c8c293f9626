"""What every attack is: an immutable description, without the model, that can be called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from medadv.attacks.gradient import Gradient
from medadv.attacks.result import Result
from medadv.attacks.search import Search, maximise
from medadv.models.victim import Victim
from medadv.objectives import CrossEntropy, Objective
from medadv.perturbations import Perturbation

Self = TypeVar("Self", bound="Attack")
Value = str | int | float | bool | None

_OF_THE_SEARCH = (
    "steps",
    "step_size",
    "momentum",
    "adaptive",
    "gradient",
    "restarts",
    "random_start",
    "stop_early",
    "seed",
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Attack(ABC):
    """A perturbation, an objective, a budget and a search, as one value: comparable, hashable, printable.

    Args:
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, stop_early, seed: see
            `medadv.attacks.search.Search`.
        objective: what is raised.
    """

    name: ClassVar[str]
    budget_field: ClassVar[str]
    reach: ClassVar[float] = 2.5

    steps: int = 20
    step_size: float | None = None
    momentum: float = 0.0
    adaptive: bool = False
    gradient: Gradient = field(default_factory=Gradient)
    restarts: int = 1
    random_start: bool = True
    stop_early: bool = True
    objective: Objective = field(default_factory=CrossEntropy)
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.objective, type) or not callable(self.objective):
            raise TypeError(f"objective must be an objective such as CrossEntropy(), got {self.objective!r}.")
        # Perturbation and search check their arguments; their values are taken, so that equal attacks compare equal.
        search = self.search
        for name in _OF_THE_SEARCH:
            object.__setattr__(self, name, getattr(search, name))
        object.__setattr__(self, self.budget_field, getattr(self.perturbation, self.budget_field))

    @property
    @abstractmethod
    def perturbation(self) -> Perturbation:
        """What may change, and how much."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """The rule of the search's steps, see `Search`."""

    @property
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
            stop_early=self.stop_early,
            seed=self.seed,
            reach=self.reach,
        )

    @property
    def budget(self) -> float:
        """Size of the budget, in its own units."""
        return float(getattr(self, self.budget_field))

    def with_budget(self: Self, budget: float) -> Self:
        """The same attack with another budget.

        Args:
            budget: in the units of `budget`.

        Returns:
            A new attack.
        """
        changes: dict[str, Any] = {self.budget_field: budget}
        return replace(self, **changes)

    def longer(self) -> Attack:
        """The attack with twice the steps, to see whether it has converged."""
        return replace(self, steps=2 * self.steps)

    def configuration(self) -> dict[str, Value]:
        """Everything that decides the result, by name, in plain values: equal for equal attacks only.

        Returns:
            The attack's name under "name", then every field.
        """
        return {"name": self.name, **{item.name: _plain(getattr(self, item.name)) for item in fields(self)}}

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor | None = None) -> Result:
        """Attack images; the victim is left as it was.

        Args:
            victim: the model under attack.
            images: [N, C, H, W] or [N, C, D, H, W] float32, inside the victim's bounds.
            targets: [N] int64, the right classes; [N, K] int64 of 0 and 1 where the victim's task is "multilabel".
            ids: [N] int64, numbers of the examples for the random starts; default 0 to N - 1.

        Returns:
            One row per image.

        Raises:
            TypeError, ValueError: what `Victim.check` refuses; ids of another type or shape.
        """
        return self.run(victim, images, targets, ids, victim.clean_logits(images, targets), clean_forwards=1)

    def run(
        self,
        victim: Victim,
        images: Tensor,
        targets: Tensor,
        ids: Tensor | None,
        clean_logits: Tensor,
        clean_forwards: int = 0,
    ) -> Result:
        """As a call, for images that the victim has checked and answered already.

        Args:
            victim, images, targets, ids: as in a call.
            clean_logits: [N, K] from `Victim.clean_logits`.
            clean_forwards: how many passes to count for them in the result.

        Returns:
            One row per image.
        """
        ids = torch.arange(len(images), device=images.device) if ids is None else ids
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64:
            raise TypeError(f"ids must be an int64 tensor, got {getattr(ids, 'dtype', type(ids).__name__)}.")
        if tuple(ids.shape) != (len(images),):
            raise ValueError(f"ids must have shape [{len(images)}], one number per image, got {list(ids.shape)}.")
        result = maximise(
            self.search,
            self.perturbation,
            self.objective,
            victim,
            images,
            targets,
            ids.to(images.device),
            clean_logits,
        )
        result.forwards.add_(clean_forwards)
        return result

    def __repr__(self) -> str:
        own = [item for item in fields(self) if not item.kw_only]
        changed = [
            item
            for item in fields(self)
            if item.kw_only and (item.name == "steps" or getattr(self, item.name) != _default(item))
        ]
        shown = ", ".join(f"{item.name}={getattr(self, item.name)!r}" for item in own + changed)
        return f"{type(self).__name__}({shown})"


def _plain(value: object) -> Value:
    return value if isinstance(value, Value) else repr(value)


def _default(item: Field[Any]) -> object:
    return item.default if item.default_factory is MISSING else item.default_factory()
