"""Trust check of the objectives: they suit the task (C5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medadv.objectives import DLR, Margin, Objective, TargetedDLR, Undetected
from medadv.objectives.objective import goals_of
from medadv.sweep.plan import Curve
from medadv.sweep.sample import Finding, Sample, joined, judged

_FEWEST_CLASSES = {DLR: 3, TargetedDLR: 4}


def suits_the_classes(curves: Sequence[Curve], sample: Sample) -> Finding:
    """C5: raising the objective leads to any wrong answer, for this task and this number of classes.

    Looked at in the sample's own logits, scaled to a largest one of 1: whether a step along the gradient of the
    objective to the logits raises the margin. A ratio of logits does not where there are too few of them, nor does a
    softmax where several labels are right. An objective with a goal counts only that answer as a success, which is not
    robust accuracy where there are other wrong answers.

    Args:
        curves: the attacks.
        sample: the images.

    Returns:
        Passed where it does in every image, and no attack has a goal among several wrong answers.
    """
    parts = []
    passed = True
    for curve in curves:
        objective, part = _of_the_classes(curve.gradient_attacks[-1].objective, sample)
        led = int(_leads_to_a_wrong_answer(objective, part).sum())
        narrow = _one_of_several(objective, part)
        passed = passed and led == len(part) and not narrow
        parts.append(
            f"{curve.label}: {type(objective).__name__} leads to a wrong answer in {led} of {len(part)} "
            f"images, with {_outputs(part)}{', but counts only one goal as a success' if narrow else ''}"
            f"{_stand_in(objective, part)}"
        )
    return judged(passed, joined(parts))


def _of_the_classes(objective: Objective, sample: Sample) -> tuple[Objective, Sample]:
    """Without the detector of a guarded victim, whose last logit no class has."""
    if not isinstance(objective, Undetected):
        return objective, sample
    return objective.objective, replace(sample, logits=sample.logits[:, :-1])


def _leads_to_a_wrong_answer(objective: Objective, sample: Sample) -> Tensor:
    largest = sample.logits.abs().amax(dim=1, keepdim=True)
    logits = (sample.logits / torch.where(largest > 0, largest, torch.ones_like(largest))).detach().requires_grad_()
    with torch.enable_grad():
        value = objective(logits, sample.targets)
        if not value.requires_grad:
            return torch.zeros_like(sample.ids, dtype=torch.bool)
        (uphill,) = torch.autograd.grad(value.sum(), logits)
        (wanted,) = torch.autograd.grad(Margin()(logits, sample.targets).sum(), logits)
    return (uphill * wanted).sum(dim=1) > 0


def _one_of_several(objective: Objective, sample: Sample) -> bool:
    """Whether only one of several wrong answers is a success."""
    wrong_answers = sample.logits.shape[1] - 1
    return wrong_answers > 1 and goals_of(objective, sample.logits, sample.targets) is not None


def _outputs(sample: Sample) -> str:
    return f"{sample.logits.shape[1]} {'classes' if sample.targets.ndim == 1 else 'labels'}"


def _stand_in(objective: Objective, sample: Sample) -> str:
    """A word on a ratio of logits that has too few of them, and is the margin, or the nearest ratio, instead."""
    fewest = _FEWEST_CLASSES.get(type(objective), 0)
    if fewest == 0 or (sample.targets.ndim == 1 and sample.logits.shape[1] >= fewest):
        return ""
    return f" (its ratio needs {fewest} classes and is replaced)"
