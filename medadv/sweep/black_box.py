"""What is found without gradients of the model where the attack finds nothing, for the trust checks C6, C16 and C17."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv.attacks import Attack, BudgetedAttack, Result, Square, random_search, transferred
from medadv.objectives import Undetected
from medadv.perturbations import Additive
from medadv.sweep.curve import Curve, Surrogate
from medadv.sweep.sample import Probe, Sample

QUERIES = 100  # per image
_BEYOND = 0.002  # of the sample, as AutoAttack's flag: the least that makes a black-box attack the stronger one


@dataclass(frozen=True, eq=False)
class BlackBox:
    """A search within the budget of an attack that follows no gradient of the model.

    Args:
        title: what was searched with, for a sentence.
        rows: int64, the images of the sample that were searched: those that withstood the attack, all where none did.
        result: one row for each of them; its `loss` is the margin, or that of a guarded victim (`Undetected`).
    """

    title: str
    rows: Tensor
    result: Result


def black_box(each: Probe, sample: Sample) -> BlackBox:
    """Search without gradients the images that withstand an attack, or all of them where none does.

    Args:
        each: the attack, tried on the sample.
        sample: the images.

    Returns:
        What was found in 100 queries per image.
    """
    rows = each.survivors if len(each.survivors) else torch.arange(len(sample), device=sample.ids.device)
    return searched(each.attack, sample, rows)


def searched(attack: BudgetedAttack, sample: Sample, rows: Tensor) -> BlackBox:
    """Search without gradients: the Square attack for noise in an L-infinity or L2 ball, else a random search.

    Args:
        attack: in whose budget.
        sample: the images.
        rows: int64, those that are searched.

    Returns:
        What was found in 100 queries per image.
    """
    perturbation, part = attack.perturbation, sample.part(rows)
    given = part.victim, part.images, part.targets, part.ids, part.logits
    if isinstance(perturbation, Additive) and perturbation.norm in ("linf", "l2"):
        square = Square(perturbation.eps, perturbation.norm, queries=QUERIES, seed=sample.seed)
        return BlackBox("Square", rows, square.run(*given))
    result = random_search(perturbation, *given, queries=QUERIES, seed=sample.seed)
    return BlackBox("a random search", rows, result)


def transfers(each: Probe, curves: Sequence[Curve], sample: Sample) -> list[BlackBox]:
    """What attacks on other models do to the images that withstood.

    Args:
        each: the attack, tried on the sample.
        curves: those that are made on a surrogate. One that changes the same as the attack is made within its budget;
            on a surrogate for which there is none, the attack itself.
        sample: the images.

    Returns:
        One for each of them; none where no image withstood.
    """
    rows = each.survivors
    if len(rows) == 0:
        return []
    part = sample.part(rows)
    return [
        BlackBox(
            f"{attack.name} made on {surrogate.source}",
            rows,
            transferred(attack, surrogate.victim, part.victim, part.images, part.targets, part.ids, part.logits),
        )
        for attack, surrogate in _on_surrogates(each, curves)
    ]


def stronger(each: Probe, boxes: Sequence[BlackBox], sample: Sample) -> bool:
    """Whether any of them breaks more than 0.2 % of the sample beyond what the attack breaks.

    Args:
        each: the attack.
        boxes: what was tried on the images that withstood it.
        sample: the images.
    """
    return len(each.survivors) > 0 and any(int(box.result.success.sum()) > _BEYOND * len(sample) for box in boxes)


def _on_surrogates(each: Probe, curves: Sequence[Curve]) -> Iterator[tuple[BudgetedAttack, Surrogate]]:
    surrogates: dict[Surrogate, list[BudgetedAttack]] = {}
    for curve in curves:
        attack = curve.attack
        if curve.surrogate is None or not isinstance(attack, BudgetedAttack):
            continue
        fitting = surrogates.setdefault(curve.surrogate, [])
        if attack.budget_field == each.attack.budget_field:
            attack = attack.with_budget(each.attack.budget)
            fitting += [attack] * (attack.perturbation == each.attack.perturbation)
    for surrogate, fitting in surrogates.items():
        for attack in fitting or [_itself(each.attack, surrogate)]:
            yield attack, surrogate


def _itself(attack: Attack, surrogate: Surrogate) -> Attack:
    """The attack on a surrogate, which may have no detector where the model has one, or the other way round."""
    objective = attack.objective
    if isinstance(objective, Undetected) and not surrogate.victim.guarded:
        objective = objective.objective
    if surrogate.victim.guarded and not isinstance(objective, Undetected):
        objective = Undetected(objective)
    return replace(attack, objective=objective, stop_early=False)
