"""Trust checks of the model: logits (C1), repeatable (C2), no inner search (C4), breakable (C15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medadv.attacks import PGD, Attack, Gradient
from medadv.models import RandomisedVictim
from medadv.sweep.forward_watch import ForwardWatch
from medadv.sweep.plan import Curve
from medadv.sweep.sample import Finding, Sample, judged, percent

_SIMPLEX_TOLERANCE = 1e-5
_REPEATS = 5
_REPEAT_TOLERANCE = 1e-4
_STEPS_WITHOUT_LIMIT = 40
_STEPS_PAST_A_DETECTOR = 200  # as what it lets pass is narrow
_LEFT_WITHOUT_LIMIT = 0.05


def logits(values: Tensor) -> Finding:
    """C1: outputs that are non-negative and sum to one are probabilities; their gradients vanish.

    Args:
        values: [N, K], what the model says about the clean images.

    Returns:
        Passed where they are no probabilities.
    """
    sums = values.double().sum(dim=1)
    simplex = bool((values >= 0).all()) and bool(((sums - 1).abs() <= _SIMPLEX_TOLERANCE).all())
    sentence = (
        f"The {values.shape[1]} outputs for {len(values)} images range from {float(values.min()):.3g} to "
        f"{float(values.max()):.3g}; their sums from {float(sums.min()):.3g} to {float(sums.max()):.3g}."
    )
    return judged(not simplex, sentence)


def deterministic(sample: Sample) -> Finding:
    """C2: several passes of the same images give the same classes, and logits that differ by rounding at most.

    A `medadv.models.RandomisedVictim` must, too: it is judged by fixed draws. How many answers hang on them is told.

    Args:
        sample: the images.

    Returns:
        Passed where the logits, as fractions of their range, differ by less than 1e-4.
    """
    with torch.no_grad():
        passes = torch.stack([sample.victim(sample.images) for _ in range(_REPEATS)]).double()
    width = (passes.amax(dim=(0, 2)) - passes.amin(dim=(0, 2))).clamp_min(1e-300)
    difference = float(((passes.amax(dim=0) - passes.amin(dim=0)).amax(dim=1) / width).max())
    moved = torch.stack([_differ(sample, logits, passes[0]) for logits in passes]).any(dim=0)
    sentence = (
        f"In {_REPEATS} passes of {len(sample)} images {int(moved.sum())} changed their class, and the logits differed "
        f"by {difference:.2g} of their range at most.{_other_draws(sample, passes[0])}"
    )
    return judged(not bool(moved.any()) and difference < _REPEAT_TOLERANCE, sentence)


def _differ(sample: Sample, logits: Tensor, others: Tensor) -> Tensor:
    """Which images are answered otherwise, bool [M]: by another class, by one of several labels, or by a detector."""
    answers, expected = (sample.victim.task.predict(values) for values in (logits, others))
    return (answers != expected).reshape(len(answers), -1).any(dim=1)


def _other_draws(sample: Sample, logits: Tensor) -> str:
    victim = sample.victim
    if not isinstance(victim, RandomisedVictim):
        return ""
    with torch.no_grad():
        others = victim.redrawn(victim.seed ^ 1)(sample.images)
    return (
        f" The model draws random numbers and is judged by the mean of {victim.draws} fixed draws; by as many others "
        f"{int(_differ(sample, others, logits).sum())} images have another class."
    )


def does_not_optimise(sample: Sample) -> Finding:
    """C4: no gradient is taken while the model answers.

    A model that does (test-time adaptation, purification by gradient steps) moves its answer by an inner search, which
    an attack has to be differentiated through, or adapted to. An inner search without gradients is not seen.

    Args:
        sample: the images.

    Returns:
        Passed where no operation of the forward pass belongs to a backward pass.
    """
    with torch.enable_grad(), ForwardWatch() as watch:
        sample.victim(sample.images.clone().requires_grad_())
    sentence = (
        f"{watch.backward_operations} operations of a backward pass ran while the model answered {len(sample)} images."
    )
    return judged(watch.backward_operations == 0, sentence)


def without_limit(curves: Sequence[Curve], sample: Sample) -> Finding:
    """C15: noise over the full range of intensities must turn (nearly) every image wrong.

    An image can then become any other, so an attack that fails follows a gradient that does not lead uphill. For the
    bias field there is no such budget: no gain makes one image into any other.

    Args:
        curves: the attacks; their objectives and steps are used.
        sample: the images.

    Returns:
        Passed where at most 5 % of the images are still right, for each objective.
    """
    parts = []
    passed = True
    for given in _of_different_aims(curves):
        steps = max(given.steps, _STEPS_PAST_A_DETECTOR if sample.victim.guarded else _STEPS_WITHOUT_LIMIT)
        draws = Gradient(samples=given.gradient.samples if sample.victim.randomised else 1)
        attack = replace(PGD(eps=1.0, steps=steps, seed=sample.seed), objective=given.objective, gradient=draws)
        left = int(sample.attack(attack).robust.sum())
        passed = passed and left <= _LEFT_WITHOUT_LIMIT * len(sample)
        parts.append(f"{steps} steps that raise {given.objective!r} leave {left} ({percent(left / len(sample))})")
    sentence = (
        f"pgd over the full range of intensities: of {len(sample)} images {'; '.join(parts)} still right, at most "
        f"{percent(_LEFT_WITHOUT_LIMIT)} expected."
    )
    return judged(passed, sentence)


def _of_different_aims(curves: Sequence[Curve]) -> list[Attack]:
    """One attack of each objective, the one of most steps."""
    found: dict[str, Attack] = {}
    for attack in (curve.gradient_attacks[-1] for curve in curves):
        other = found.setdefault(repr(attack.objective), attack)
        if attack.steps > other.steps:
            found[repr(attack.objective)] = attack
    return list(found.values())
