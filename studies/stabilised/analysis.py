"""From outcomes per image to mean damage and its spread over image sets, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from studies._common.bootstrap import Array, draws, estimate, means
from studies._common.parts import Json

MEASURES = ("fooled", "damage")
# What is computed from the sets' means, and from the images of each set.
MEAN, BETWEEN_SETS, RELATIVE, BETWEEN_IMAGES = "mean", "spread between sets", "relative spread", "spread between images"


class Samples:
    """Means and spreads of one contender at one budget, in every bootstrap sample.

    Args:
        outcomes: by image set, one outcome (`studies.stabilised.outcomes.outcome`) per network.
        weights: by image set, of `studies._common.bootstrap.draws`; sets are drawn independently.
    """

    def __init__(self, outcomes: Mapping[str, Sequence[Json]], weights: Mapping[str, Array]) -> None:
        self.outcomes = outcomes
        self.weights = weights

    def of_set(self, name: str, measure: str) -> Array:
        """Mean over networks and images of a set, [1 + resamples]."""
        averaged: Array = means(self._values(name, measure), self.weights[name]).mean(axis=0)
        return averaged

    def all(self, measure: str) -> dict[str, Array]:
        """The four numbers of a measure, each [1 + resamples].

        The mean of the sets' means, every set counting the same; their standard deviation, also divided by their mean;
        and the standard deviation over the images of a set, mean over networks and sets.
        """
        sets = np.array([self.of_set(name, measure) for name in self.outcomes])
        mean = sets.mean(axis=0)
        spread = sets.std(axis=0, ddof=1) if len(sets) > 1 else np.full_like(mean, np.nan)
        relative = np.divide(spread, mean, out=np.full_like(mean, np.nan), where=mean > 0)
        images = np.mean([self._spread_of_images(name, measure) for name in self.outcomes], axis=0)
        return {MEAN: mean, BETWEEN_SETS: spread, RELATIVE: relative, BETWEEN_IMAGES: images}

    def _spread_of_images(self, name: str, measure: str) -> Array:
        values = self._values(name, measure)
        mean, square = (means(each, self.weights[name]) for each in (values, values**2))
        spread: Array = np.sqrt(np.maximum(square - mean**2, 0)).mean(axis=0)
        return spread

    def _values(self, name: str, measure: str) -> Array:
        return np.array([each[measure] for each in self.outcomes[name]], np.float64)


def set_weights(images: Mapping[str, int], resamples: int, seed: int) -> dict[str, Array]:
    """Bootstrap draws for every set, independent of each other.

    Args:
        images: how many were attacked in each.
        resamples: how many samples are drawn.
        seed: of the draws.

    Returns:
        [1 + resamples, images] by name.
    """
    return {name: draws(count, resamples, seed + number) for number, (name, count) in enumerate(images.items())}


def summary(samples: Samples, references: Mapping[str, Samples]) -> Json:
    """Everything about one contender at one budget.

    Args:
        samples: of the contender.
        references: by label, what it is compared with; differences are paired.

    Returns:
        By measure: the numbers of `Samples.all`, each with its interval, "less LABEL" with those of the differences,
        and "sets" with the mean of each.
    """
    rows: Json = {}
    for measure in MEASURES:
        ours = samples.all(measure)
        rows[measure] = {key: estimate(values) for key, values in ours.items()}
        for label, reference in references.items():
            theirs = reference.all(measure)
            rows[measure][f"less {label}"] = {key: estimate(ours[key] - theirs[key]) for key in ours}
        rows[measure]["sets"] = {name: estimate(samples.of_set(name, measure)) for name in samples.outcomes}
    return rows
