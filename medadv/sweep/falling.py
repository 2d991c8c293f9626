"""The budgets of an attack from the largest to the smallest, on one shard."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray

from medadv.attacks.progress import watched
from medadv.models import Victim
from medadv.sweep.curve import Curve
from medadv.sweep.outcome import Outcome
from medadv.sweep.plan import Evaluation


def fall(
    evaluation: Evaluation,
    victim: Victim,
    curve: Curve,
    examples: NDArray[np.int64],
    shown: NDArray[np.int64],
    held: int,
    tell: Callable[[int, float], None],
    note: Callable[[int, float], None],
) -> tuple[list[Outcome], list[float]]:
    """Run the budgets of an attack, a batch of images at a time.

    An image that withstands a budget is not attacked at smaller ones; one that a budget breaks keeps that result at
    larger ones, as where budgets rise. Passes are told at the budget where they were made.

    Args:
        evaluation: what is evaluated.
        victim: its victim, as it is shown images.
        curve: one of its attacks.
        examples: [M], numbers of the images, rising.
        shown: numbers of the images that are kept to be looked at.
        held: how many images the attack works on at once.
        tell: called before each budget of so many images with the index of the budget and the share that is done, and
            at the end.
        note: called with the same meanwhile, as often as the attack tells how far it is.

    Returns:
        One outcome per budget, rising, and how many seconds it took.
    """
    outcomes = [Outcome.blank(evaluation.data, examples) for _ in curve.budgets]
    seconds = [0.0] * len(outcomes)
    last = len(outcomes) - 1
    tell(last, 0.0)
    done, total = 0, len(outcomes) * len(examples)
    for start in range(0, len(examples), held):
        batch = examples[start : start + held]
        ids = torch.from_numpy(batch).to(evaluation.device)
        images, targets, logits = evaluation.images[ids], evaluation.targets[ids], evaluation.logits[ids]
        results = curve.fall(victim, images, targets, ids, logits)
        for step in range(last, -1, -1):
            since = time.monotonic()
            with watched(partial(note, step), done / total, len(batch) / total):
                result = next(results)
            attack = curve.attacks[step]
            outcomes[step] = outcomes[step].with_result(attack, batch, images, result, evaluation.data, shown)
            seconds[step] += time.monotonic() - since
            done += len(batch)
            tell(step - 1 if step else last, done / total)
    return list(accumulate(outcomes, Outcome.kept_at)), seconds
