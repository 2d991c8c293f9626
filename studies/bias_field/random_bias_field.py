"""Random bias fields: what a bias field attack must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.random_noise import random_changes
from medadv.attacks.result import Result
from medadv.models import Victim
from medadv.perturbations import SplineBiasField


@dataclass(frozen=True, repr=False)
class RandomBiasField(BudgetedAttack):
    """B-spline bias fields drawn at random within the gain, several times, until the victim is wrong.

    Args:
        gain: largest factor, above 1.
        draws: how many per image, at least 1.
        seed: of the draws.
    """

    name: ClassVar[str] = "random-bias-field"
    budget_field: ClassVar[str] = "gain"

    gain: float = 1.3
    draws: int = 20
    seed: int = 0

    @property
    def perturbation(self) -> SplineBiasField:
        return SplineBiasField(self.gain)

    def _run(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor) -> Result:
        return random_changes(
            self.perturbation, victim, images, targets, ids, clean_logits, draws=self.draws, seed=self.seed
        )
