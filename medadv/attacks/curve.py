"""One attack at several budgets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.ensemble import Ensemble
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
) -> list[Result]:
    """The results of an attack at rising budgets, each image attacked until it breaks.

    An image that broke at a smaller budget keeps that result, numbers of passes included: it lies in the larger budget.
    So robust accuracy never rises with the budget.

    Args:
        attack: the attack; its own budget plays no part.
        budgets: in the attack's units, each larger than the one before.
        victim, images, targets, ids: as for the attack.

    Returns:
        One result per budget. The pass for the clean images is counted at the first budget.

    Raises:
        TypeError, ValueError: `budgets` is empty or does not rise; what the attack refuses.

    >>> from medadv.attacks.pgd import PGD
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> curve = budget_curve(PGD(steps=5), [0.0, 0.5], Victim(net), images, net(images).argmax(1))
    >>> [result.robust_accuracy for result in curve][0]
    1.0
    """
    attacks = [attack.with_budget(budget) for budget in budgets]
    sizes = [each.budget for each in attacks]
    if not sizes:
        raise ValueError("budgets must not be empty.")
    if any(after <= before for before, after in pairwise(sizes)):
        raise ValueError(f"budgets must rise, got {sizes}.")
    ids = torch.arange(len(images), device=images.device) if ids is None else ids
    logits = victim.clean_logits(images, targets)
    results = [attacks[0].run(victim, images, targets, ids, logits, clean_forwards=1)]
    for each in attacks[1:]:
        left = results[-1].robust.nonzero().flatten()
        if len(left) == 0:
            results.append(results[-1])
            continue
        fresh = each.run(victim, images[left], targets[left], ids[left], logits[left])
        results.append(replace_rows(results[-1], left, fresh))
    return results
