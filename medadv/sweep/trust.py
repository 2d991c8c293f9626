"""Whether an evaluation can be trusted: the checks C1 to C20.

After the checklist of Carlini et al., "On evaluating adversarial robustness" (2019), the flags of AutoAttack (Croce and
Hein, 2020) and the indicators of attack failure of Pintor et al. (2022). A check is made on a sample of images that the
model gets right, and on the stored results; what cannot be checked is listed as "not run" with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from medadv.sweep import attack_checks, model_checks, result_checks
from medadv.sweep.plan import Evaluation
from medadv.sweep.sample import Finding, Probe, Sample, not_run
from medadv.sweep.store import Store

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
    reasons = {**_NOT_RUN, **({} if sample else dict.fromkeys(_ON_THE_SAMPLE, _NO_SAMPLE))}
    if sample and not evaluation.gradient_curves:
        reasons |= dict.fromkeys(_OF_GRADIENT_ATTACKS, _NO_GRADIENT_ATTACK)
    others = {curve.label for curve in evaluation.curves} - {curve.label for curve in evaluation.gradient_curves}
    jobs: dict[str, Callable[[], Finding]] = {
        "C1": lambda: model_checks.logits(evaluation.logits),
        "C8": lambda: result_checks.falling(store, others),
        "C10": lambda: result_checks.worst_case(store),
        "C11": lambda: result_checks.clean_accuracy(store),
        "C19": lambda: result_checks.provenance(evaluation, store),
        "C20": lambda: result_checks.intervals(store),
    }
    if sample is not None:
        jobs |= _on_the_sample(evaluation, store, sample)
    jobs |= {name: partial(not_run, reason) for name, reason in reasons.items()}
    return dict(sorted(jobs.items(), key=lambda item: int(item[0][1:])))


def _on_the_sample(evaluation: Evaluation, store: Store, sample: Sample) -> dict[str, Callable[[], Finding]]:
    probes: list[Probe] = []
    curves = evaluation.gradient_curves

    def probed() -> list[Probe]:
        if not probes:
            probes.extend(attack_checks.probe(curve, store, sample) for curve in curves)
        return probes

    return {
        "C2": lambda: model_checks.deterministic(sample),
        "C3": lambda: model_checks.gradients(curves, sample),
        "C7": lambda: attack_checks.single_step(probed(), sample),
        "C9": lambda: attack_checks.converged(probed(), sample),
        "C12": lambda: attack_checks.within_budget(probed(), evaluation, store, sample),
        "C13": lambda: attack_checks.verified_again(probed(), sample),
        "C14": lambda: attack_checks.noise_floor(probed(), sample),
        "C15": lambda: model_checks.without_limit(curves, sample),
    }


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


_ON_THE_SAMPLE = ("C2", "C3", "C7", "C9", "C12", "C13", "C14", "C15")
_OF_GRADIENT_ATTACKS = ("C3", "C7", "C9", "C13", "C14", "C15")
_NO_GRADIENT_ATTACK = "No attack that follows gradients of the model within a budget was run."
_NO_SAMPLE = "The model gets no image right, so there is nothing to attack."
_NOT_RUN = {
    "C4": "Whether the model runs an optimisation of its own while it answers is not looked into.",
    "C5": "Cross-entropy and margin, the objectives in use, suit any number of classes from two.",
    "C6": "This version has no black-box attack to compare with.",
    "C16": "No network with a planted weakness was built from this model.",
    "C17": "No defence was named, so the model was attacked as it stands.",
    "C18": "The indicators of attack failure are not computed in this version, except those of C3, C7, C9 and C15.",
}
