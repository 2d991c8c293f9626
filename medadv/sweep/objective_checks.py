"""Trust check of the objectives: they suit the task (C5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medadv.attacks import Attack
from medadv.objectives import DLR, Margin, TargetedDLR
from medadv.objectives.objective import goals_of
from medadv.sweep.plan import Curve
from medadv.sweep.sample import Finding, Sample, joined, judged

_FEWEST_CLASSES = {DLR: 3, TargetedDLR: 4}
_TWO = 2


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
        led = int(_leads_to_a_wrong_answer(curve.attack, sample).sum())
        one_goal = goals_of(curve.attack.objective, sample.logits, sample.targets) is not None
        narrow = one_goal and sample.logits.shape[1] > _TWO
        passed = passed and led == len(sample) and not narrow
        parts.append(
            f"{curve.attack.name}: {curve.attack.objective} leads to a wrong answer in {led} of {len(sample)} images "
            f"with {sample.logits.shape[1]} {_outputs(sample)}{_remark(curve.attack, sample, narrow)}"
        )
    return judged(passed, joined(parts))


def _leads_to_a_wrong_answer(attack: Attack, sample: Sample) -> Tensor:
    largest = sample.logits.abs().amax(dim=1, keepdim=True)
    logits = (sample.logits / torch.where(largest > 0, largest, torch.ones_like(largest))).detach().requires_grad_()
    with torch.enable_grad():
        value = attack.objective(logits, sample.targets).sum()
        margin = Margin()(logits, sample.targets).sum()
        if not value.requires_grad:
            return torch.zeros_like(sample.ids, dtype=torch.bool)
        (uphill,) = torch.autograd.grad(value, logits)
        (wanted,) = torch.autograd.grad(margin, logits)
    return (uphill * wanted).sum(dim=1) > 0


def _outputs(sample: Sample) -> str:
    return "labels" if sample.targets.ndim == _TWO else "classes"


def _remark(attack: Attack, sample: Sample, narrow: bool) -> str:
    if narrow:
        return ", but counts only its goal as a success"
    fewest = _FEWEST_CLASSES.get(type(attack.objective), 0)
    if sample.targets.ndim == 1 and sample.logits.shape[1] >= fewest:
        return ""
    return f" (its ratio needs {fewest} classes; here it is the nearest that there is)" if fewest else ""
