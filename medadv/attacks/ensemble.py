"""Several attacks in one budget, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from medadv.attacks.base_attack import BaseAttack
from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.merge import replace_rows, take_rows
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormAttack
from medadv.attacks.progress import told
from medadv.attacks.result import Result, Status
from medadv.models.victim import Victim
from medadv.objectives import Margin
from medadv.perturbations import Additive, Perturbation


@dataclass(frozen=True, eq=False, repr=False)
class EnsembleResult(Result):
    """The outcome of several attacks.

    Attributes:
        member: [N] int64, number of the attack that fooled the victim, from 0; -1 where none did.
    """

    member: Tensor


@dataclass(frozen=True, repr=False)
class Ensemble(BaseAttack):
    """The worst case of each image over several attacks: an image is robust only if it withstands all of them.

    Each attack sees only the images that withstood those before it, so cheap ones go first. Croce and Hein, "Reliable
    evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks" (AutoAttack, 2020), which
    is `medadv.attacks.auto_attack`. A find of a minimum-norm attack counts where it lies within the budget.

    Args:
        attacks: at least one with a budget; all those change the same in an image within the same budget, which is
            noise in the norm of the minimum-norm attacks, if there are any.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.attacks.apgd import APGD
    >>> from medadv.attacks.fab import FAB
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> both = Ensemble((APGD(0.5, steps=5), FAB("linf", steps=5)))
    >>> both(Victim(net), images, net(images).argmax(1)).success.shape
    torch.Size([5])
    """

    name: ClassVar[str] = "ensemble"

    attacks: tuple[BudgetedAttack | MinimumNormAttack, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        if not self.attacks:
            raise ValueError("attacks must not be empty.")
        for attack in self.attacks:
            if not isinstance(attack, BudgetedAttack | MinimumNormAttack):
                raise TypeError(f"attacks must hold attacks such as PGD(), got {attack!r}.")
        if not any(isinstance(attack, BudgetedAttack) for attack in self.attacks):
            raise ValueError(f"attacks must hold one with a budget, got {self.attacks!r}.")
        perturbation = self.perturbation
        for attack in self.attacks:
            if isinstance(attack, MinimumNormAttack):
                if not isinstance(perturbation, Additive) or perturbation.norm != attack.measure:
                    raise ValueError(
                        f"attacks must change the same, got {perturbation!r} and noise of the least {attack.measure} "
                        f"norm of {attack!r}."
                    )
            elif attack.perturbation != perturbation:
                raise ValueError(
                    f"attacks must change the same within the same budget, got {perturbation!r} and "
                    f"{attack.perturbation!r}."
                )

    @property
    def perturbation(self) -> Perturbation:
        return self._first_with_a_budget.perturbation

    @property
    def budget(self) -> float:
        """Size of the budget, in its own units."""
        return self._first_with_a_budget.budget

    def with_budget(self, budget: float) -> Ensemble:
        """The same attacks with another budget.

        Args:
            budget: in the units of `budget`.

        Returns:
            A new ensemble.
        """
        return Ensemble(
            tuple(
                attack.with_budget(budget) if isinstance(attack, BudgetedAttack) else attack for attack in self.attacks
            )
        )

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor | None = None) -> EnsembleResult:
        """Attack images; the victim is left as it was.

        Args:
            victim, images, targets, ids: as for every attack.

        Returns:
            One row per image: of the first attack that fooled the victim, else of the last one with a budget. Passes
            are those of all attacks that the image went through.

        Raises:
            TypeError, ValueError: what an attack refuses.
        """
        result = super().__call__(victim, images, targets, ids)
        assert isinstance(result, EnsembleResult)
        return result

    @property
    def _first_with_a_budget(self) -> BudgetedAttack:
        return next(attack for attack in self.attacks if isinstance(attack, BudgetedAttack))

    def _run(
        self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor
    ) -> EnsembleResult:
        rows = torch.arange(len(images), device=images.device)
        member = torch.full_like(rows, -1)
        result: Result | None = None
        for number, attack in enumerate(told(self.attacks)):
            fresh = attack.run(victim, images[rows], targets[rows], ids[rows], clean_logits[rows])
            if isinstance(attack, MinimumNormAttack):
                fresh = self._within_the_budget(fresh, images[rows], targets[rows], clean_logits[rows])
            member[rows[fresh.success]] = number
            result = fresh if result is None else _followed(result, rows, fresh, isinstance(attack, BudgetedAttack))
            rows = result.robust.nonzero().flatten()
            if len(rows) == 0:
                break
        assert result is not None
        return EnsembleResult(**_columns(result), member=member)

    def _within_the_budget(self, result: Result, images: Tensor, targets: Tensor, clean_logits: Tensor) -> Result:
        """The result of a minimum-norm attack, without the finds that are too far away."""
        far = (result.success & ~result.success_within(self.budget)).nonzero().flatten()
        clean = replace(
            result,
            images=images.detach(),
            status=torch.full_like(result.status, Status.FAILED),
            parameters={name: torch.zeros_like(noise) for name, noise in result.parameters.items()},
            loss=Margin()(clean_logits, targets),
            distance=torch.zeros_like(result.distance),
            predictions=result.clean_predictions,
            step=torch.full_like(result.step, -1),
        )
        return replace_rows(result, far, take_rows(clean, far))


def _followed(result: Result, rows: Tensor, fresh: Result, keep_failed: bool) -> Result:
    """A result with the outcome of the next attack on the rows that withstood; passes add up."""
    before = take_rows(result, rows)
    forwards, backwards = fresh.forwards + before.forwards, fresh.backwards + before.backwards
    if not keep_failed:
        found = fresh.success.nonzero().flatten()
        fresh = replace_rows(before, found, take_rows(fresh, found))
    return replace_rows(result, rows, replace(fresh, forwards=forwards, backwards=backwards))


def _columns(result: Result) -> dict[str, Any]:
    return {item.name: getattr(result, item.name) for item in fields(Result)}
