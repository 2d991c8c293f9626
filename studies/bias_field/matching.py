"""Attacks at the same success on the network that they see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studies._common.bootstrap import Array


@dataclass(frozen=True)
class Mixture:
    """An attacker who takes one budget for a share of the images, and the next smaller one for the rest.

    The success of such an attacker lies exactly at the level, with no assumption on what is between two budgets. Below
    the smallest budget nothing is changed at all.

    Attributes:
        upper: [S] number of the larger budget.
        share: [S] of images that get it, above 0 and at most 1; NaN where no budget reaches the level.
    """

    upper: NDArray[np.int64]
    share: Array

    @classmethod
    def of(cls, level: float, success: Array) -> Mixture:
        """The first two budgets between which success reaches a level.

        Args:
            level: above 0 and at most 1.
            success: [B, S], from 0 to 1, for S samples; budgets rise, success need not.

        Returns:
            The mixture of each sample.

        >>> Mixture.of(0.5, np.array([[0.2], [0.8]])).share
        array([0.5])
        """
        padded = np.concatenate([np.zeros_like(success[:1]), success])
        upper = (success >= level).argmax(axis=0)
        samples = np.arange(success.shape[1])
        below, above = padded[upper, samples], padded[upper + 1, samples]
        reached = above >= level
        rise = np.where(reached, above - below, 1.0)
        return cls(upper, np.where(reached, (level - below) / rise, np.nan))

    def mean(self, values: Array, unchanged: float) -> Array:
        """The mean of something over the images of such an attacker.

        Args:
            values: [B, S], at each budget.
            unchanged: its value where nothing is changed.

        Returns:
            [S]; NaN where the level is not reached.

        >>> Mixture.of(0.5, np.array([[0.2], [0.8]])).mean(np.array([[1.0], [3.0]]), unchanged=0.0)
        array([2.])
        """
        padded = np.concatenate([np.full_like(values[:1], unchanged), values])
        samples = np.arange(values.shape[1])
        mixed: Array = (1 - self.share) * padded[self.upper, samples] + self.share * padded[self.upper + 1, samples]
        return mixed
