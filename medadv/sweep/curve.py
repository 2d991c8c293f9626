"""One attack at several budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from torch import Tensor

from medadv import _arguments
from medadv.attacks import (
    APGD,
    Attack,
    AutoAttack,
    BudgetedAttack,
    MinimumNormAttack,
    RandomNoise,
    Result,
    transferred,
)
from medadv.attacks.falling_curve import falling_curve
from medadv.models import Victim, model_sha256

_NORMS = ("linf", "l2", "l1")

# Fields of attacks that say how long they search.
_LENGTHS = ("steps", "restarts", "searches", "queries", "draws", "probes", "most_probes")


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A model that attacks are made on, to be shown to the victim.

    Args:
        victim: the model, on the device of the victim; same bounds and task.
        source: how it was named.
    """

    victim: Victim
    source: str

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of its weights."""
        return model_sha256(self.victim.module)

    @property
    def described(self) -> dict[str, Any]:
        """What decides its answers, as plain JSON values."""
        return {
            "surrogate": self.source,
            "surrogate_sha256": self.sha256,
            "surrogate_victim": self.victim.configuration(),
        }


@dataclass(frozen=True)
class Curve:
    """One attack at several budgets.

    An attack with a budget is run at each; one that looks for the smallest change is run once, and the budgets are read
    off.

    Args:
        attack: the attack; its own budget plays no part.
        budgets: in the attack's units, each larger than the one before.
        label: what it is called in the results, unique among the curves of an evaluation; default: its name.
        surrogate: the model that the attack is made on, if that is not the victim; only for an attack with a budget.

    Raises:
        TypeError, ValueError: no budget, budgets that do not rise, one that the attack refuses, or a surrogate for an
            attack that looks for the smallest change.

    >>> from medadv.attacks import DDN, PGD
    >>> [attack.eps for attack in Curve(PGD(), (0.25, 0.5)).attacks]
    [0.25, 0.5]
    >>> Curve(DDN(), (0.25, 0.5)).attacks
    []
    """

    attack: BudgetedAttack | MinimumNormAttack
    budgets: tuple[float, ...]
    label: str = ""
    surrogate: Surrogate | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.attack.name)
        if isinstance(self.attack, BudgetedAttack):
            sizes = tuple(self.attack.with_budget(budget).budget for budget in self.budgets)
        else:
            sizes = tuple(_arguments.real(budget, "budget", at_least=0) for budget in self.budgets)
        if not sizes:
            raise ValueError(f"budgets of {self.label} must not be empty.")
        if any(after <= before for before, after in pairwise(sizes)):
            raise ValueError(f"budgets of {self.label} must rise, got {list(sizes)}.")
        if self.surrogate is not None and not isinstance(self.attack, BudgetedAttack):
            raise ValueError(f"surrogate must be None for {self.label}, which looks for the smallest change.")
        object.__setattr__(self, "budgets", sizes)

    @property
    def attacks(self) -> list[BudgetedAttack]:
        """The attack with each of the budgets; none of one that looks for the smallest change."""
        attack = self.attack
        return [attack.with_budget(budget) for budget in self.budgets] if isinstance(attack, BudgetedAttack) else []

    @property
    def limits(self) -> list[BudgetedAttack]:
        """Noise of each of the budgets, in place of an attack that looks for the smallest change in such a norm."""
        if not self.finds_smallest or self.norm not in _NORMS:
            return []
        return [RandomNoise(budget, self.norm) for budget in self.budgets]

    @property
    def finds_smallest(self) -> bool:
        """Whether the attack looks for the smallest change, so that the budgets are read off."""
        return isinstance(self.attack, MinimumNormAttack)

    @property
    def can_fall(self) -> bool:
        """Whether what withstands a budget can be taken to withstand the smaller ones: it searches the model itself.

        A single step goes too far in a large budget; changes made on another model may fail in any, and so may random
        ones.
        """
        attack = self.attack
        if not isinstance(attack, BudgetedAttack) or isinstance(attack, RandomNoise) or self.surrogate is not None:
            return False
        return len(self.budgets) > 1 and all(getattr(attack, name, 2) > 1 for name in ("steps", "queries"))

    @property
    def gradient_attacks(self) -> list[Attack]:
        """The attack with each of the budgets, where it raises an objective of the victim itself by gradient steps."""
        return [attack for attack in self.attacks if isinstance(attack, Attack) and self.surrogate is None]

    @property
    def budget_field(self) -> str | None:
        """The field of the attack that is its budget; None where it looks for the smallest change."""
        return self.attack.budget_field if isinstance(self.attack, BudgetedAttack) else None

    @property
    def norm(self) -> str | None:
        """The norm of its noise; None where it changes something else."""
        attack = self.attack
        norm = attack.measure if isinstance(attack, MinimumNormAttack) else getattr(attack.perturbation, "norm", None)
        return None if norm is None else str(norm)

    def described(self, attack: BudgetedAttack | MinimumNormAttack) -> dict[str, Any]:
        """What decides the results of one of the attacks, as plain JSON values."""
        return {
            "attack": self.label,
            "configuration": {**attack.configuration(), **({} if self.surrogate is None else self.surrogate.described)},
            "budget_field": self.budget_field,
            "norm": self.norm,
        }

    def seeded(self, seed: int) -> Curve:
        """The same with the seed of the attack replaced, if it has one."""
        changes: dict[str, Any] = {"seed": seed}
        return replace(self, attack=replace(self.attack, **changes)) if hasattr(self.attack, "seed") else self

    def shortest(self) -> BudgetedAttack | MinimumNormAttack:
        """The attack, at the largest budget, that makes one step."""
        attack = self.attacks[-1] if self.attacks else self.attack
        if isinstance(attack, AutoAttack):
            attack = APGD(attack.eps, attack.norm)  # the first of its members
        changes: dict[str, Any] = {item.name: 1 for item in fields(attack) if item.name in _LENGTHS}
        if isinstance(attack, Attack):
            changes["stop_early"] = False
        return replace(attack, **changes)

    def in_batches_of(self, batch_size: int, after_each: Callable[[], None] | None = None) -> Curve:
        """The same, where a surrogate is shown no more images at once, see `medadv.models.Victim.in_batches_of`."""
        if self.surrogate is None:
            return self
        victim = self.surrogate.victim.in_batches_of(batch_size, after_each)
        return replace(self, surrogate=replace(self.surrogate, victim=victim))

    def run(
        self,
        attack: BudgetedAttack | MinimumNormAttack,
        victim: Victim,
        images: Tensor,
        targets: Tensor,
        ids: Tensor,
        clean_logits: Tensor,
        clean_forwards: int = 0,
        surrogate_logits: Tensor | None = None,
    ) -> Result:
        """Run one of the attacks, on the victim or on the surrogate.

        Args:
            attack: one of `attacks`, or the one that looks for the smallest change.
            victim, images, targets, ids, clean_logits, clean_forwards: see `medadv.attacks.BaseAttack.run`.
            surrogate_logits: [N, K], what the surrogate, if there is one, says of `images`; else it is asked.

        Returns:
            One row per image.
        """
        given = victim, images, targets, ids, clean_logits, clean_forwards
        if self.surrogate is None:
            return attack.run(*given)
        return transferred(attack, self.surrogate.victim, *given, surrogate_logits)

    def fall(
        self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor
    ) -> Iterator[Result]:
        """Run all of the attacks, from the largest budget to the smallest; see `medadv.attacks.budget_curve`.

        Args:
            victim, images, targets, ids, clean_logits: see `medadv.attacks.BaseAttack.run`.

        Yields:
            One row per image, of the largest budget first.
        """
        return falling_curve(self.attacks, victim, images, targets, ids, clean_logits)
