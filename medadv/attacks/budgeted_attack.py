"""An attack that searches inside a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from medadv.attacks.base_attack import BaseAttack

Self = TypeVar("Self", bound="BudgetedAttack")


@dataclass(frozen=True, repr=False)
class BudgetedAttack(BaseAttack):
    """An attack with a budget, the field named by `budget_field`, that its perturbation keeps."""

    budget_field: ClassVar[str]

    def __post_init__(self) -> None:
        # The perturbation checks its arguments; its value is taken, so that equal attacks compare equal.
        object.__setattr__(self, self.budget_field, getattr(self.perturbation, self.budget_field))

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
