"""What the trust checks work with: a sample of images, and what an attack does to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv.attacks import Attack, BudgetedAttack, Result
from medadv.models import Victim

TOLERANCE = 0.05  # of a sample


@dataclass(frozen=True, eq=False)
class Sample:
    """Images that the model gets right.

    Args:
        victim: the model.
        images: [M, C, H, W] float32.
        targets: [M] int64.
        ids: [M] int64, their numbers in the data.
        logits: [M, K] of the clean images.
        seed: of the draws.
    """

    victim: Victim
    images: Tensor
    targets: Tensor
    ids: Tensor
    logits: Tensor
    seed: int

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: Tensor) -> Sample:
        """Some images of the sample.

        Args:
            rows: int64 [R], which.

        Returns:
            The smaller sample.
        """
        chosen = {name: getattr(self, name)[rows] for name in ("images", "targets", "ids", "logits")}
        return replace(self, **chosen)

    def attack(self, attack: BudgetedAttack, rows: Tensor | None = None) -> Result:
        """What an attack does to the sample.

        Args:
            attack: the attack.
            rows: int64, only these images; default all.

        Returns:
            One row per image.
        """
        part = self if rows is None else self.part(rows)
        return attack.run(part.victim, part.images, part.targets, part.ids, part.logits)

    def wrong(self, images: Tensor, rows: Tensor | None = None) -> Tensor:
        """Whether the model gets changed images of the sample wrong.

        Args:
            images: [R, C, H, W].
            rows: int64 [R], which images of the sample they were; default all.

        Returns:
            bool [R].
        """
        targets = self.targets if rows is None else self.targets[rows]
        with torch.no_grad():
            return ~self.victim.correct(self.victim(images), targets)


@dataclass(frozen=True, eq=False)
class Probe:
    """An attack at the budget where it is hardest to tell a strong attack from a weak one, and what it does.

    Args:
        attack: with that budget.
        result: on the sample.
        granted: rows of the sample, int64, that the stored results take to withstand this budget because they withstood
            a larger one, see `medadv.sweep.taken_for_granted`; None where every image was attacked at it.
        label: how the evaluation calls the attack, which tells two of one name apart; "": by its name.
    """

    attack: Attack
    result: Result
    granted: Tensor | None = None
    label: str = ""

    @property
    def survivors(self) -> Tensor:
        """Rows of the sample that withstood, int64."""
        return self.result.robust.nonzero().flatten()

    @property
    def broken(self) -> Tensor:
        """Rows of the sample that the attack turned wrong, int64."""
        return self.result.success.nonzero().flatten()

    def __str__(self) -> str:
        return describe(self.attack, self.label)


@dataclass(frozen=True)
class Finding:
    """Outcome of a check, and the sentence with the numbers."""

    outcome: str
    sentence: str


def judged(passed: bool, sentence: str) -> Finding:
    """A check that was run."""
    return Finding("passed" if passed else "failed", sentence)


def not_run(reason: str) -> Finding:
    """A check that was not."""
    return Finding("not run", reason)


def joined(parts: Sequence[str]) -> str:
    """One sentence from what was found for each attack.

    >>> joined(["pgd: 2 of 3", "bias-field: 1 of 3"])
    'pgd: 2 of 3; bias-field: 1 of 3.'
    """
    return "; ".join(parts) + "."


def describe(attack: BudgetedAttack, label: str = "") -> str:
    """An attack with its budget, for a sentence.

    >>> from medadv.attacks import PGD
    >>> describe(PGD(eps=4 / 255)), describe(PGD(eps=4 / 255, steps=9), "pgd:steps=9")
    ('pgd at 4/255', 'pgd:steps=9 at 4/255')
    """
    return f"{label or attack.name} at {budget_text(attack.budget)}"


def budget_text(budget: float) -> str:
    """A budget, in 255ths where it is a small whole number of them.

    >>> budget_text(8 / 255), budget_text(1.3), budget_text(0.0)
    ('8/255', '1.3', '0')
    """
    levels = budget * 255
    if 1 <= round(levels) <= 32 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{budget:.4g}"


def percent(share: float) -> str:
    """A share in per cent.

    >>> percent(0.125)
    '12.5 %'
    """
    return f"{100 * share:.1f} %"
