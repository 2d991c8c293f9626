"""One attack at several budgets, from the largest to the smallest, each image until it withstands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.ensemble import Ensemble
from medadv.attacks.merge import replace_rows, take_rows
from medadv.attacks.questions import Questions
from medadv.attacks.result import Result, Status
from medadv.models.victim import Victim
from medadv.objectives import Margin, Undetected


def falling_curve(
    attacks: Sequence[BudgetedAttack | Ensemble],
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor,
    logits: Tensor,
) -> Iterator[Result]:
    """The results of an attack, as `medadv.attacks.budget_curve` with `falling` describes them.

    Args:
        attacks: the same attack with rising budgets.
        victim, images, targets, ids: as for the attack.
        logits: [N, K], the victim's answer to `images`.

    Yields:
        One result per attack, the last attack first.
    """
    result = attacks[-1].run(victim, images, targets, ids, logits, clean_forwards=1)
    yield result
    for attack in reversed(attacks[:-1]):
        result = _below(attack, result, victim, images, targets, ids, logits)
        yield result


def _below(
    attack: BudgetedAttack | Ensemble,
    larger: Result,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor,
    logits: Tensor,
) -> Result:
    """The result at a budget, from that at the next larger one."""
    inside = larger.success & (larger.distance <= attack.budget)
    kept = inside.nonzero().flatten()
    result = _not_attacked(attack, larger, victim, images, targets, logits)
    result = replace_rows(result, kept, _without_passes(take_rows(larger, kept)))
    rows = (larger.success & ~inside).nonzero().flatten()
    if len(rows) == 0:
        return result
    drawn_in = _drawn_in(attack, take_rows(larger, rows), victim, images[rows], targets[rows], ids[rows], logits[rows])
    result = replace_rows(result, rows, drawn_in)
    rows = rows[~drawn_in.success]
    if len(rows) == 0:
        return result
    # The one pass on top is that of the image that was drawn in.
    fresh = attack.run(victim, images[rows], targets[rows], ids[rows], logits[rows], clean_forwards=1)
    return replace_rows(result, rows, fresh)


def _not_attacked(
    attack: BudgetedAttack | Ensemble,
    larger: Result,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    logits: Tensor,
) -> Result:
    """Every image clean; those that were right at first withstood."""
    identity = attack.perturbation.identity(images)
    right = larger.status != Status.ALREADY_WRONG
    margin = Undetected() if victim.guarded else Margin()
    # What did not break at the larger budget has no member of an ensemble that broke it; the rest is put in later.
    clean = replace(
        larger,
        images=images.detach(),
        status=torch.where(right, torch.full_like(larger.status, Status.FAILED), larger.status),
        parameters=identity,
        loss=torch.where(right, margin(logits, targets), larger.loss),
        distance=attack.perturbation.distance(images, identity, victim.bounds),
        predictions=larger.clean_predictions,
        step=torch.full_like(larger.step, -1),
    )
    return _without_passes(clean)


def _drawn_in(
    attack: BudgetedAttack | Ensemble,
    found: Result,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor,
    logits: Tensor,
) -> Result:
    """Images that fooled the victim, drawn into a smaller budget; one pass each.

    They count where the answer is still the same one: it may be that which the objective has as its goal.
    """
    perturbation = attack.perturbation
    with torch.inference_mode(False), torch.no_grad():
        questions = Questions(perturbation, victim, images, targets, ids, logits)
        questions.ask(questions.rows, 0, perturbation.project(images, found.parameters, victim.bounds))
        seen = questions.result()
    same = (seen.predictions == found.predictions).reshape(len(images), -1).all(dim=1)
    status = torch.where(seen.success & same, seen.status, torch.full_like(seen.status, Status.FAILED))
    return replace(
        found,
        images=seen.images,
        status=status,
        parameters=seen.parameters,
        loss=seen.loss,
        distance=seen.distance,
        predictions=seen.predictions,
        forwards=seen.forwards,
        backwards=seen.backwards,
        step=seen.step,
    )


def _without_passes(result: Result) -> Result:
    none = torch.zeros_like(result.forwards)
    return replace(result, forwards=none, backwards=none.clone())
