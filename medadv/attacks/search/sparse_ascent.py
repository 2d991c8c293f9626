"""Steps along ever fewer entries of the gradient: the schedule of L1-APGD."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medadv.attacks.search.adaptive_ascent import AdaptiveAscent
from medadv.attacks.search.ascent import sparse

_FIRST_SHARE = 0.2  # of all entries, that the first steps change
_BETWEEN_CHECKS = 0.04  # of all steps
_SPARSER = 1.5  # a step changes so many times fewer entries than the best point has
_STILL_SPARSER = 0.95  # of the entries at the last check: below, the first length is taken again
_SHORTER, _SHORTEST = 1.5, 0.1


class SparseAscent(AdaptiveAscent):
    """Steps along the largest entries of a gradient, whose number follows that of the entries changed so far.

    Croce and Hein, "Mind the box: L1-APGD for sparse adversarial attacks on image classifiers" (2021). A step changes
    20 % of all entries at first; after every check, which comes every 4 % of the steps, 1 / 1.5 of the number that
    differ from 0 in the best point. Where that number has fallen by more than 5 % since the last check, the example
    goes on from its best point with steps of the first length; elsewhere steps get 1.5 times shorter, down to a tenth.

    Args:
        lengths: first length of a step for each parameter tensor, in its units.
        steps: how many will be made.

    >>> SparseAscent({"noise": 0.5}, steps=100).checks[:4]
    (4, 8, 12, 16)
    """

    inertia: ClassVar[bool] = False

    def __init__(self, lengths: dict[str, float], steps: int) -> None:
        super().__init__("l1", lengths, steps)
        between = max(int(_BETWEEN_CHECKS * steps), 1)
        self.checks = tuple(range(between, steps, between))

    def _direction(self, gradient: Tensor) -> Tensor:
        entries = gradient[0].numel()
        counts = (self._rows["share"] * entries).long().clamp(1, entries)
        return sparse(gradient, counts)

    def _first(self, values: Tensor) -> dict[str, Tensor]:
        share = torch.full_like(values, _FIRST_SHARE, dtype=torch.float64)
        return {"share": share, "changed": torch.ones_like(share)}

    def _note(self, values: Tensor) -> None:
        pass

    def _check(self) -> Tensor:
        rows = self._rows
        best = torch.cat([values.flatten(1) for values in self._best.values()], dim=1)
        changed = (best != 0).double().mean(dim=1)
        sparser = changed < _STILL_SPARSER * rows["changed"]
        shorter = (rows["scale"] / _SHORTER).clamp_min(_SHORTEST)
        rows["scale"] = torch.where(sparser, torch.ones_like(shorter), shorter)
        rows["share"], rows["changed"] = changed / _SPARSER, changed
        return sparser
