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
from medadv.sweep.sample import TOLERANCE, Probe, Sample

QUERIES = 100  # per image
_BEYOND = 0.002  # of the sample, as AutoAttack's flag: the least that makes a black-box attack the stronger one
_REPEATS = 5  # of the attack, with other random numbers


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


@dataclass(frozen=True)
class Beyond:
    """Images that withstood an attack, and that something else breaks.

    Args:
        images: how many.
        by_chance: how many of them the attack breaks, too, when it is repeated with other random numbers.
        sample: how many images were tried.
    """

    images: int
    by_chance: int
    sample: int

    @property
    def shows_more(self) -> bool:
        """Whether what broke them is stronger than the attack, and not merely luckier.

        The limit is that of AutoAttack's flag, 0.2 % of the images.
        """
        return self.images - self.by_chance > _BEYOND * self.sample


def beyond(each: Probe, boxes: Sequence[BlackBox], sample: Sample) -> Beyond:
    """What was tried without gradients of the model, beside the attack.

    An attack that starts at random leaves a few images that another start would break, and so does any search. One that
    follows a gradient which leads nowhere leaves them in every run. So the attack is repeated on these images alone,
    where they are at most 5 % of the sample (ours).

    Args:
        each: the attack.
        boxes: what was tried on the images that withstood it.
        sample: the images.

    Returns:
        How many images one of them breaks, and how many of them are luck.
    """
    nothing = torch.zeros(0, dtype=torch.int64, device=sample.ids.device)
    broken = [box.rows[box.result.success] for box in boxes] if len(each.survivors) else []
    rows = torch.cat([nothing, *broken]).unique()
    return Beyond(len(rows), by_chance(each, rows, sample), len(sample))


def by_chance(each: Probe, rows: Tensor, sample: Sample) -> int:
    """How many images an attack breaks in one of five more runs, with other random numbers.

    Args:
        each: the attack.
        rows: int64, images of the sample that withstood it; none is tried where they are more than 5 % of the sample.
        sample: the images.
    """
    if len(rows) > TOLERANCE * len(sample):
        return 0
    left = rows
    for number in range(1, _REPEATS + 1):
        if len(left) == 0:
            break
        again = replace(each.attack, seed=(each.attack.seed + number) % 2**64)
        left = left[~sample.attack(again, left).success]
    return len(rows) - len(left)


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
