"""From outcomes per image to success, transfer at matched success, and realism, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from studies._common.bootstrap import Array, draws, estimate, means
from studies._common.parts import Json
from studies._common.preparation import NetworkName
from studies.bias_field.configuration import Contender
from studies.bias_field.matching import Mixture
from studies.bias_field.outcomes import UNCHANGED, name

REFERENCE = "PGD"
UNTUNED, TUNED = "polynomial", ("thin plate", "flow")
BLACK_BOX, OTHER_SEED = "black box", "other seed"


class SetAnalysis:
    """The outcomes of one image set, seen through one set of bootstrap draws.

    Args:
        outcomes: by label of the contender and surrogate, one `studies.bias_field.outcomes.outcome` per budget.
        victims: all networks.
        images: how many were attacked.
        resamples, seed: of the bootstrap.
    """

    def __init__(
        self,
        outcomes: dict[tuple[str, NetworkName], list[Json]],
        victims: Sequence[NetworkName],
        images: int,
        resamples: int,
        seed: int,
    ) -> None:
        self.outcomes = outcomes
        self.victims = victims
        self.weights = draws(images, resamples, seed)
        self.surrogates = sorted({surrogate for _, surrogate in outcomes})

    def fooled(self, label: str, surrogate: NetworkName, victim: NetworkName) -> Array:
        """0 or 1 for each budget and image, [B, n]."""
        return np.array([each["fooled"][name(victim)] for each in self.outcomes[label, surrogate]], np.float64)

    def success(self, label: str, surrogate: NetworkName, victim: NetworkName) -> Array:
        """Share of images fooled in each sample, [B, 1 + resamples]."""
        return means(self.fooled(label, surrogate, victim), self.weights)

    def realism(self, label: str, surrogate: NetworkName, measure: str) -> Array:
        """Mean of a measure in each sample, [B, 1 + resamples]."""
        values = np.array([each["realism"][measure] for each in self.outcomes[label, surrogate]])
        return means(values, self.weights)

    def worst_case(self, labels: Sequence[str]) -> Array:
        """Share of images that any of these attacks fools at a budget or a smaller one, [B, 1 + resamples].

        The mean over surrogates, each fooled itself.
        """
        per_surrogate = []
        for surrogate in self.surrogates:
            any_attack = np.max([self.fooled(label, surrogate, surrogate) for label in labels], axis=0)
            per_surrogate.append(means(np.maximum.accumulate(any_attack, axis=0), self.weights))
        worst: Array = np.mean(per_surrogate, axis=0)
        return worst

    def others(self, surrogate: NetworkName, kind: str) -> list[NetworkName]:
        """Victims that are other architectures ("black box"), or the same one trained from another seed."""
        same = [victim for victim in self.victims if victim[0] == surrogate[0] and victim != surrogate]
        return same if kind == OTHER_SEED else [victim for victim in self.victims if victim[0] != surrogate[0]]

    def transfer(self, label: str, kind: str) -> Array | None:
        """Share of images that fool other networks, mean over surrogates and victims, [B, 1 + resamples]."""
        pairs = [
            self.success(label, surrogate, victim)
            for surrogate in self.surrogates
            for victim in self.others(surrogate, kind)
        ]
        return np.mean(pairs, axis=0) if pairs else None

    def mixtures(self, label: str, level: float) -> dict[NetworkName, Mixture]:
        """For each surrogate, the attacker whose success there is the level."""
        return {each: Mixture.of(level, self.success(label, each, each)) for each in self.surrogates}

    def matched_transfer(self, label: str, level: float, kind: str) -> Array | None:
        """`transfer` of the attackers whose success on their surrogate is the level, [1 + resamples]."""
        mixtures = self.mixtures(label, level)
        pairs = [
            mixtures[surrogate].mean(self.success(label, surrogate, victim), unchanged=0.0)
            for surrogate in self.surrogates
            for victim in self.others(surrogate, kind)
        ]
        return np.mean(pairs, axis=0) if pairs else None

    def matched_realism(self, label: str, level: float, measure: str) -> Array:
        """A measure of realism for the same attackers, mean over surrogates, [1 + resamples]."""
        mixtures = self.mixtures(label, level)
        values = [
            mixtures[each].mean(self.realism(label, each, measure), UNCHANGED[measure]) for each in self.surrogates
        ]
        averaged: Array = np.mean(values, axis=0)
        return averaged

    def matrix(self, label: str, level: float) -> Json:
        """Share fooled by surrogate (outer key) and victim (inner key) at matched success; None: not reached."""
        rows: Json = {}
        for surrogate, mixture in self.mixtures(label, level).items():
            values = {
                victim: mixture.mean(self.success(label, surrogate, victim), unchanged=0.0)[0]
                for victim in self.victims
            }
            rows[name(surrogate)] = {name(victim): _plain(value) for victim, value in values.items()}
        return rows


def curve_rows(analysis: SetAnalysis, contender: Contender, budgets: Sequence[float]) -> list[Json]:
    """Success, transfer and realism of a contender, one row per budget."""
    label = contender.label
    alone = np.mean([analysis.success(label, each, each) for each in analysis.surrogates], axis=0)
    success = analysis.worst_case([label])
    black_box = analysis.transfer(label, BLACK_BOX)
    rows = []
    for number, budget in enumerate(budgets):
        passes = [analysis.outcomes[label, each][number] for each in analysis.surrogates]
        rows.append(
            {
                "contender": label,
                "kind": contender.kind,
                "budget": budget,
                "success": estimate(success[number]),
                "success at this budget alone": float(alone[number, 0]),
                BLACK_BOX: None if black_box is None else estimate(black_box[number]),
                "realism": {
                    measure: float(
                        np.mean([analysis.realism(label, each, measure)[number, 0] for each in analysis.surrogates])
                    )
                    for measure in UNCHANGED
                },
                "forwards": float(np.mean([each["forwards"] for each in passes])),
                "backwards": float(np.mean([each["backwards"] for each in passes])),
            }
        )
    return rows


def tuning_rows(analysis: SetAnalysis, budgets: Sequence[float]) -> list[Json]:
    """What moving the coordinates of the polynomial brings: paired differences of success to the polynomial alone."""
    plain = analysis.worst_case([UNTUNED])
    rows = []
    for label in TUNED:
        more = analysis.worst_case([label]) - plain
        rows += [
            {"contender": label, "budget": budget, f"success less {UNTUNED}": estimate(samples)}
            for budget, samples in zip(budgets, more, strict=True)
        ]
    return rows


def matched_rows(analyses: Sequence[SetAnalysis], label: str, levels: Sequence[float]) -> list[Json]:
    """Transfer and realism of a contender at matched success, one row per level, the mean of several sets.

    Args:
        analyses: one or more sets, of the same number of samples.
        label: the contender.
        levels: of success on the surrogate.

    Returns:
        Rows; differences to `REFERENCE` are paired, of the same samples.
    """
    rows = []
    for level in levels:
        row: Json = {"contender": label, "level": level}
        for kind in (BLACK_BOX, OTHER_SEED):
            ours, reference = (_over_sets(analyses, each, level, kind) for each in (label, REFERENCE))
            row[kind] = None if ours is None else estimate(ours)
            row[f"{kind} less {REFERENCE}"] = None if ours is None or reference is None else estimate(ours - reference)
        row["realism"] = {}
        for measure in UNCHANGED:
            ours, reference = (
                np.mean([each.matched_realism(one, level, measure) for each in analyses], axis=0)
                for one in (label, REFERENCE)
            )
            row["realism"][measure] = estimate(ours)
            row["realism"][f"{measure} less {REFERENCE}"] = estimate(ours - reference)
        rows.append(row)
    return rows


def _over_sets(analyses: Sequence[SetAnalysis], label: str, level: float, kind: str) -> Array | None:
    found = [each.matched_transfer(label, level, kind) for each in analyses]
    present = [each for each in found if each is not None]
    return np.mean(present, axis=0) if len(present) == len(found) else None


def _plain(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
