"""The budgets of an attack from the largest to the smallest, on one shard."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray

from medadv.sweep.curve import Curve
from medadv.sweep.outcome import Outcome
from medadv.sweep.plan import Evaluation


def fall(
    evaluation: Evaluation,
    curve: Curve,
    examples: NDArray[np.int64],
    shown: NDArray[np.int64],
    batch_size: int,
    tell: Callable[[int, float], None],
) -> tuple[list[Outcome], list[float]]:
    """Run the budgets of an attack, a batch of images at a time.

    An image that withstands a budget is not attacked at smaller ones; one that a budget breaks keeps that result at
    larger ones, as where budgets rise. Passes are told at the budget where they were made.

    Args:
        evaluation: what is evaluated.
        curve: one of its attacks.
        examples: [M], numbers of the images, rising.
        shown: numbers of the images that are kept to be looked at.
        batch_size: images shown to the model at once.
        tell: called before each budget of each batch with the index of the budget and the share that is done, and at
            the end.

    Returns:
        One outcome per budget, rising, and how many seconds it took.
    """
    outcomes = [Outcome.blank(evaluation.data, examples) for _ in curve.budgets]
    seconds = [0.0] * len(outcomes)
    last = len(outcomes) - 1
    tell(last, 0.0)
    done = 0
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        ids = torch.from_numpy(batch).to(evaluation.device)
        images, targets, logits = evaluation.images[ids], evaluation.targets[ids], evaluation.logits[ids]
        since = time.monotonic()
        for step, result in curve.fall(evaluation.victim, images, targets, ids, logits):
            attack = curve.attacks[step]
            outcomes[step] = outcomes[step].with_result(attack, batch, images, result, evaluation.data, shown)
            seconds[step] += time.monotonic() - since
            done += len(batch)
            tell(step - 1 if step else last, done / (len(outcomes) * len(examples)))
            since = time.monotonic()
    return list(accumulate(outcomes, Outcome.kept_at)), seconds
