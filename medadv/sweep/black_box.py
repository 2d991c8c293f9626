"""What a search without gradients finds where the attack finds nothing, for the trust checks C6 and C16."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv.attacks import Result, Square, random_search
from medadv.perturbations import Additive
from medadv.sweep.sample import Probe, Sample

QUERIES = 100  # per image


@dataclass(frozen=True, eq=False)
class BlackBox:
    """A search without gradients within the budget of an attack.

    Args:
        title: what was searched with, for a sentence.
        rows: int64, the images of the sample that were searched: those that withstood the attack, all where none did.
        result: one row for each of them; its `loss` is the margin.
    """

    title: str
    rows: Tensor
    result: Result


def black_box(each: Probe, sample: Sample) -> BlackBox:
    """Search without gradients: the Square attack for noise in an L-infinity or L2 ball, else a random search.

    Args:
        each: the attack, tried on the sample.
        sample: the images.

    Returns:
        What was found in 100 queries per image.
    """
    rows = each.survivors if len(each.survivors) else torch.arange(len(sample), device=sample.ids.device)
    perturbation = each.attack.perturbation
    given = sample.victim, sample.images[rows], sample.targets[rows], sample.ids[rows], sample.logits[rows]
    if isinstance(perturbation, Additive) and perturbation.norm in ("linf", "l2"):
        square = Square(perturbation.eps, perturbation.norm, queries=QUERIES, seed=sample.seed)
        return BlackBox("Square", rows, square.run(*given))
    result = random_search(perturbation, *given, queries=QUERIES, seed=sample.seed)
    return BlackBox("a random search", rows, result)
