"""One attack at several budgets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.base_attack import require_victim
from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.ensemble import Ensemble
from medadv.attacks.falling_curve import falling_curve
from medadv.attacks.merge import replace_rows
from medadv.attacks.result import Result
from medadv.models.victim import Victim


def budget_curve(
    attack: BudgetedAttack | Ensemble,
    budgets: Sequence[float],
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor | None = None,
    *,
    falling: bool = False,
) -> list[Result]:
    """The results of an attack at several budgets; robust accuracy never rises with the budget.

    By default each image is attacked at rising budgets until it breaks: broken at a budget means that the attack broke
    it there, or at a smaller one. It keeps that result, numbers of passes included, for it lies in the larger budgets.

    `falling` starts at the largest budget and attacks each image until it withstands, so that the dear runs, those that
    fail, are made once per image and not once per budget. What broke it is first tried again, drawn into the next
    smaller budget. Broken at a budget means that an image within it was found that fools the victim; that an image
    which withstood a budget withstands the smaller ones is taken for granted. It is true of the image, yet an attack
    may fail at a large budget and succeed at a small one, as one step or a model with useless gradients may make it.

    Args:
        attack: the attack; its own budget plays no part.
        budgets: in the attack's units, each larger than the one before.
        victim, images, targets, ids: as for the attack.
        falling: begin at the largest budget.

    Returns:
        One result per budget. The pass for the clean images is counted at the budget that comes first. With `falling`
        each row counts the passes made at its budget; rows that were not attacked there hold the clean image and its
        margin, and the loss of an image that was drawn in from a larger budget is its margin.

    Raises:
        TypeError, ValueError: `budgets` is empty or does not rise; what the attack refuses.

    >>> from medadv.attacks.pgd import PGD
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> curve = budget_curve(PGD(steps=5), [0.0, 0.5], Victim(net), images, net(images).argmax(1))
    >>> [result.robust_accuracy for result in curve][0]
    1.0
    """
    _arguments.flag(falling, "falling")
    attacks = [attack.with_budget(budget) for budget in budgets]
    sizes = [each.budget for each in attacks]
    if not sizes:
        raise ValueError("budgets must not be empty.")
    if any(after <= before for before, after in pairwise(sizes)):
        raise ValueError(f"budgets must rise, got {sizes}.")
    ids = torch.arange(len(images), device=images.device) if ids is None else ids
    require_victim(victim)
    logits = victim.clean_logits(images, targets)
    if falling:
        return list(falling_curve(attacks, victim, images, targets, ids, logits))[::-1]
    return _rising_curve(attacks, victim, images, targets, ids, logits)


def _rising_curve(
    attacks: Sequence[BudgetedAttack | Ensemble],
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor,
    logits: Tensor,
) -> list[Result]:
    results = [attacks[0].run(victim, images, targets, ids, logits, clean_forwards=1)]
    for each in attacks[1:]:
        left = results[-1].robust.nonzero().flatten()
        if len(left) == 0:
            results.append(results[-1])
            continue
        fresh = each.run(victim, images[left], targets[left], ids[left], logits[left])
        results.append(replace_rows(results[-1], left, fresh))
    return results
