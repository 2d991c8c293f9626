"""What falling budgets take for granted: an image that withstood a budget withstands the smaller ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from medadv.sweep.curve import Curve
from medadv.sweep.sample import Sample
from medadv.sweep.store import Store


@dataclass(frozen=True)
class Granted:
    """Images that were taken to withstand a budget, attacked at it after all.

    Args:
        label: the attack.
        tried: how many images.
        broken: how many of them did not withstand.
    """

    label: str
    tried: int
    broken: int

    def __str__(self) -> str:
        return (
            f"{self.label}: its budgets fall, so that an image which withstands one is taken to withstand the smaller "
            f"ones without being attacked there; tried after all on {self.tried} images, at one of those budgets each, "
            f"it breaks {self.broken}"
        )


def tried_after_all(curve: Curve, store: Store, sample: Sample) -> Granted:
    """Attack images of the sample at budgets that they were taken to withstand: each at one, the budgets in turn.

    Args:
        curve: an attack whose budgets fall.
        store: results at all of them.
        sample: the images.

    Returns:
        How many were broken.
    """
    granted = granted_rows(curve, store, sample)
    budgets_of = {
        row: [step for step, rows in enumerate(granted) if row in rows] for row in torch.cat(granted).unique().tolist()
    }
    chosen = {row: steps[turn % len(steps)] for turn, (row, steps) in enumerate(budgets_of.items())}
    broken = 0
    for step, attack in enumerate(curve.attacks):
        rows = [row for row, at in chosen.items() if at == step]
        if rows:
            broken += int(sample.attack(attack, torch.tensor(rows, device=sample.ids.device)).success.sum())
    return Granted(curve.label, len(chosen), broken)


def granted_rows(curve: Curve, store: Store, sample: Sample) -> list[Tensor]:
    """Images of the sample that were taken to withstand each budget of an attack whose budgets fall.

    Args:
        curve: the attack.
        store: results at all budgets.
        sample: the images.

    Returns:
        For each budget, rows of the sample, int64; none at the largest.
    """
    table = store.query(
        "SELECT attack, budget, example FROM rows JOIN units USING (unit) WHERE status = 'failed'", kind="attack"
    )
    withstood = []
    for budget in curve.budgets:
        rows = (table["attack"] == curve.label) & (table["budget"] == budget)
        examples = torch.as_tensor(table["example"][rows], device=sample.ids.device)
        withstood.append(torch.isin(sample.ids, examples))
    return [
        *((smaller & larger).nonzero().flatten() for smaller, larger in pairwise(withstood)),
        torch.zeros(0, dtype=torch.int64, device=sample.ids.device),
    ]
