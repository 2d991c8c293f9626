"""Trust checks of the model: logits (C1), repeatable (C2), differentiable (C3), breakable (C15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medadv.attacks import PGD, Attack, Draw
from medadv.sweep.plan import Curve
from medadv.sweep.sample import Finding, Sample, joined, judged, percent

_SIMPLEX_TOLERANCE = 1e-5
_REPEATS = 5
_REPEAT_TOLERANCE = 1e-4
_STEPS_WITHOUT_LIMIT = 40
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

    Args:
        sample: the images.

    Returns:
        Passed where the logits, as fractions of their range, differ by less than 1e-4.
    """
    with torch.no_grad():
        passes = torch.stack([sample.victim(sample.images) for _ in range(_REPEATS)]).double()
    width = (passes.amax(dim=(0, 2)) - passes.amin(dim=(0, 2))).clamp_min(1e-300)
    difference = float(((passes.amax(dim=0) - passes.amin(dim=0)).amax(dim=1) / width).max())
    classes = passes.argmax(dim=2)
    moved = int((classes != classes[0]).any(dim=0).sum())
    sentence = (
        f"In {_REPEATS} passes of {len(sample)} images {moved} changed their class, and the logits differed by "
        f"{difference:.2g} of their range at most."
    )
    return judged(moved == 0 and difference < _REPEAT_TOLERANCE, sentence)


def gradients(curves: Sequence[Curve], sample: Sample) -> Finding:
    """C3: the objective has a gradient that is finite and not zero, for every image and every attack.

    Args:
        curves: the attacks.
        sample: the images.

    Returns:
        Passed where all have one.
    """
    parts = []
    alive = True
    for curve in curves:
        sizes = gradient_sizes(curve.gradient_attacks[-1], sample)
        good = int((torch.isfinite(sizes) & (sizes > 0)).sum())
        alive = alive and good == len(sample)
        parts.append(f"{curve.attack.name}: {good} of {len(sample)} images have a gradient other than zero")
    return judged(alive, joined(parts))


def gradient_sizes(attack: Attack, sample: Sample) -> Tensor:
    """Largest entry of the gradient of an attack's objective to its parameters, where its first restart begins.

    Args:
        attack: perturbation and objective.
        sample: the images.

    Returns:
        [M]; zero where the model gives no gradient at all.
    """
    start = attack.perturbation.identity(sample.images)
    if attack.random_start:
        draw = Draw(attack.seed, sample.ids, 0)
        start = attack.perturbation.random(sample.images, draw, sample.victim.bounds)
    parameters = {name: values.detach().requires_grad_() for name, values in start.items()}
    with torch.enable_grad():
        changed = attack.perturbation.apply(sample.images, parameters, sample.victim.bounds)
        value = attack.objective(sample.victim(changed), sample.targets)
        if not value.requires_grad:
            return torch.zeros_like(value)
        found = torch.autograd.grad(value.sum(), list(parameters.values()), allow_unused=True)
    sizes = [torch.zeros_like(value) if grad is None else grad.flatten(1).abs().amax(dim=1) for grad in found]
    return torch.stack(sizes).amax(dim=0)


def without_limit(curves: Sequence[Curve], sample: Sample) -> Finding:
    """C15: noise over the full range of intensities must turn (nearly) every image wrong.

    An image can then become any other, so an attack that fails follows a gradient that does not lead uphill. For the
    bias field there is no such budget: no gain makes one image into any other.

    Args:
        curves: the attacks; their objective and steps are used.
        sample: the images.

    Returns:
        Passed where at most 5 % of the images are still right.
    """
    given = curves[0].gradient_attacks[-1]
    steps = max(given.steps, _STEPS_WITHOUT_LIMIT)
    attack = replace(PGD(eps=1.0, steps=steps, seed=sample.seed), objective=given.objective)
    left = int(sample.attack(attack).robust.sum())
    sentence = (
        f"pgd over the full range of intensities, {steps} steps: {left} of {len(sample)} images are still right "
        f"({percent(left / len(sample))}, at most {percent(_LEFT_WITHOUT_LIMIT)} expected)."
    )
    return judged(left <= _LEFT_WITHOUT_LIMIT * len(sample), sentence)
