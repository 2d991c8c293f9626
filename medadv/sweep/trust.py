"""Whether an evaluation can be trusted: the checks C1 to C20.

After the checklist of Carlini et al., "On evaluating adversarial robustness" (2019), the flags of AutoAttack (Croce and
Hein, 2020), the indicators of attack failure of Pintor et al. (2022) and the active tests of Zimmermann et al. (2022).
A check is made on a sample of images that the model gets right, or on the stored results; what cannot be checked is
listed as "not run" with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medadv.sweep import (
    attack_checks,
    black_box_checks,
    failure_indicators,
    gradient_checks,
    model_checks,
    objective_checks,
    result_checks,
)
from medadv.sweep.black_box import BlackBox, black_box, transfers
from medadv.sweep.plan import Evaluation
from medadv.sweep.sample import Finding, Probe, Sample, not_run
from medadv.sweep.store import Store
from medadv.sweep.taken_for_granted import Granted, tried_after_all
from medadv.sweep.transfer import transfer_of

SAMPLE = 32  # images

TITLES = {
    "C1": "The model returns logits, not probabilities",
    "C2": "The same images give the same answer",
    "C3": "Every image has a gradient",
    "C4": "The model does not optimise while it answers",
    "C5": "The objective suits the number of classes",
    "C6": "No black-box attack is stronger",
    "C7": "Many steps break what one step breaks",
    "C8": "Accuracy falls as the budget grows",
    "C9": "More steps would not change the result",
    "C10": "Robust accuracy is the worst case of each image",
    "C11": "Accuracy without attack is known",
    "C12": "Every attacked image keeps its budget",
    "C13": "Attacked images stay wrong alone and on disk",
    "C14": "Random changes of the same budget do no more",
    "C15": "Without a limit the attack always succeeds",
    "C16": "An attack finds what was planted",
    "C17": "The attack sees the whole defence",
    "C18": "The attack does not fail in silence",
    "C19": "Every row says what it was made from",
    "C20": "Every rate has an interval",
}


@dataclass(frozen=True)
class Check:
    """How one check went.

    Args:
        check: "C1" to "C20".
        title: what is asked.
        outcome: "passed", "failed" or "not run".
        sentence: what was found, with numbers.
    """

    check: str
    title: str
    outcome: str
    sentence: str


def run_checks(
    evaluation: Evaluation, store: Store, progress: Callable[[str, float], None] = lambda doing, share: None
) -> list[Check]:
    """Check an evaluation whose attacks are all committed.

    Args:
        evaluation: what was evaluated.
        store: its results.
        progress: called with what is checked, and the share of the checks that is done.

    Returns:
        One entry for each of C1 to C20.
    """
    sample = _sample(evaluation)
    jobs = _jobs(evaluation, store, sample)
    found: dict[str, Finding] = {}
    for number, (name, job) in enumerate(jobs.items()):
        progress(f"check {name}: {TITLES[name][0].lower()}{TITLES[name][1:]}", number / len(jobs))
        found[name] = job()
    return [Check(name, title, found[name].outcome, found[name].sentence) for name, title in TITLES.items()]


def _jobs(evaluation: Evaluation, store: Store, sample: Sample | None) -> dict[str, Callable[[], Finding]]:
    jobs: dict[str, Callable[[], Finding]] = {
        "C1": lambda: model_checks.logits(_of_the_classes(evaluation)),
        "C8": lambda: result_checks.falling(store, _others(evaluation)),
        "C10": lambda: result_checks.worst_case(store),
        "C11": lambda: result_checks.clean_accuracy(store),
        "C19": lambda: result_checks.provenance(evaluation, store),
        "C20": lambda: result_checks.intervals(store),
    }
    if sample is not None:
        jobs |= _OnTheSample(evaluation, store, sample).jobs()
    reason = _NO_SAMPLE if sample is None else _NO_GRADIENT_ATTACK
    return {name: jobs.get(name, partial(not_run, reason)) for name in TITLES}


class _OnTheSample:
    """The checks that try something on the sample; what several of them need is tried once, when it is first needed."""

    def __init__(self, evaluation: Evaluation, store: Store, sample: Sample) -> None:
        self.evaluation = evaluation
        self.store = store
        self.sample = sample

    @cached_property
    def probes(self) -> list[Probe]:
        return [
            attack_checks.probe(curve, self.store, self.sample, self.evaluation.kind_of(curve) == "falling")
            for curve in self.evaluation.gradient_curves
        ]

    @cached_property
    def black_boxes(self) -> list[BlackBox]:
        return [black_box(each, self.sample) for each in self.probes]

    @cached_property
    def transferred(self) -> list[list[BlackBox]] | None:
        """What attacks on surrogates do to each probe; None where no surrogate was named."""
        curves = self.evaluation.transfer_curves
        return [transfers(each, curves, self.sample) for each in self.probes] if curves else None

    @cached_property
    def without_gradients(self) -> list[list[BlackBox]]:
        return [
            [box, *others]
            for box, others in zip(self.black_boxes, self.transferred or [[]] * len(self.probes), strict=True)
        ]

    @cached_property
    def granted(self) -> list[Granted]:
        fallen = [curve for curve in self.evaluation.curves if self.evaluation.kind_of(curve) == "falling"]
        return [tried_after_all(curve, self.store, self.sample) for curve in fallen]

    def jobs(self) -> dict[str, Callable[[], Finding]]:
        evaluation, store, sample = self.evaluation, self.store, self.sample
        curves = evaluation.gradient_curves
        without_gradients = {
            "C2": lambda: model_checks.deterministic(sample),
            "C4": lambda: model_checks.does_not_optimise(sample),
            "C8": lambda: result_checks.falling(store, _others(evaluation), self.granted, len(sample)),
            "C12": lambda: attack_checks.within_budget(self.probes, evaluation, store, sample),
        }
        if not curves:
            transfer = {"C18": self.failures} if evaluation.transfer_curves else {}
            return without_gradients | transfer
        return without_gradients | {
            "C3": lambda: gradient_checks.gradients(curves, sample),
            "C5": lambda: objective_checks.suits_the_classes(curves, sample),
            "C6": lambda: black_box_checks.no_black_box_stronger(
                self.probes, self.black_boxes, sample, self.transferred
            ),
            "C7": lambda: attack_checks.single_step(self.probes, sample),
            "C9": lambda: attack_checks.converged(self.probes, sample),
            "C13": lambda: attack_checks.verified_again(self.probes, sample),
            "C14": lambda: attack_checks.noise_floor(self.probes, sample),
            "C15": lambda: model_checks.without_limit(curves, sample),
            "C16": lambda: black_box_checks.planted_weakness(self.probes, self.black_boxes, sample),
            "C17": lambda: gradient_checks.whole_defence(self.probes, sample, self.without_gradients),
            "C18": self.failures,
        }

    def failures(self) -> Finding:
        made = self.evaluation.transfer_curves
        told = [transfer_of(curve, attack_checks.telling_step(curve, self.store), self.sample) for curve in made]
        alone = len(made) == len(self.evaluation.curves)
        return failure_indicators.failure_indicators(self.probes, self.sample, told, alone)


def _of_the_classes(evaluation: Evaluation) -> Tensor:
    """The clean logits without the last column of a guarded victim, which is its detector's."""
    return evaluation.logits[:, :-1] if evaluation.victim.guarded else evaluation.logits


def _others(evaluation: Evaluation) -> set[str]:
    """Labels of the attacks that do not follow gradients of the model within a budget."""
    return {curve.label for curve in evaluation.curves} - {curve.label for curve in evaluation.gradient_curves}


def _sample(evaluation: Evaluation) -> Sample | None:
    correct = evaluation.victim.correct(evaluation.logits, evaluation.targets).cpu().numpy()
    examples = spread(np.flatnonzero(correct), min(SAMPLE, evaluation.batch_size))
    if len(examples) == 0:
        return None
    ids = torch.from_numpy(examples).to(evaluation.device)
    images, targets, logits = evaluation.images[ids], evaluation.targets[ids], evaluation.logits[ids]
    return Sample(evaluation.victim, images, targets, ids, logits, evaluation.seed)


def spread(numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the numbers, evenly spread.

    Args:
        numbers: [N].
        count: at least 1.

    Returns:
        [min(N, count)], in their order.

    >>> spread(np.arange(100), 4).tolist()
    [0, 25, 50, 75]
    """
    if len(numbers) <= count:
        return numbers
    return numbers[np.arange(count) * len(numbers) // count]


_NO_GRADIENT_ATTACK = "No attack that follows gradients of the model within a budget was run."
_NO_SAMPLE = "The model gets no image right, so there is nothing to attack."
