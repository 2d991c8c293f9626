"""Trust checks of the gradient: there is one (C3), it sees the whole model (C17)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from medadv.attacks import Attack, Draw
from medadv.objectives import Margin
from medadv.sweep.forward_watch import ForwardWatch
from medadv.sweep.plan import Curve
from medadv.sweep.sample import Finding, Probe, Sample, joined, judged, percent

_CHANGES = 2  # random changes per image along which the gradient is followed
_INTERVALS = (2, 8)  # of the trapezoidal rule; the second only where the first is too coarse for a sound model
_UNEXPLAINED = 0.3  # of the change of the margin, in an image whose gradient is whole
_IMAGES = 0.25  # of the sample may be an exception
_ROUNDINGS = 100.0  # the least change of a margin that is more than rounding, in units of the last place of a logit
# Beyond the restarts of any attack, so that no change is one of its random starts.
_DRAW_NUMBER = 2**34


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
        parts.append(f"{curve.label}: {good} of {len(sample)} images have a gradient other than zero")
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


def whole_defence(probes: Sequence[Probe], sample: Sample) -> Finding:
    """C17: the gradient along a path from the clean image must add up to the change of the margin at its end.

    So it is for every model whose gradient is whole, by the fundamental theorem of line integrals. It is not where a
    part of the model is hidden from the gradient (detached, rounded, replaced by something else on the way back), is
    random, or changes faster than any step of an attack can follow. Paths are straight, in the image, towards random
    changes of the attack's kind and budget, so the attack's own perturbation plays no part (ours).

    Args:
        probes: the attacks.
        sample: the images.

    Returns:
        Passed where the gradient leaves at most 30 % of the change unexplained, in 75 % of the images.
    """
    parts = []
    passed = True
    for each in probes:
        account = next(account for account in _accounts(each, sample) if account.good or account.last)
        if account.images == 0:
            parts.append(f"{each}: random changes move the answer by no more than rounding")
            continue
        passed = passed and account.good
        parts.append(
            f"{each}: along random changes of this budget the gradient leaves {percent(account.median)} (median) of "
            f"the change of the margin unexplained, and more than {percent(_UNEXPLAINED)} in {account.exceptions} of "
            f"{account.images} images"
        )
    return judged(passed, joined(parts) + ("" if passed else _what_hides(sample)))


@dataclass(frozen=True)
class _Account:
    """How much of the margin's change the gradient explains."""

    images: int
    median: float
    exceptions: int
    last: bool

    @property
    def good(self) -> bool:
        return self.exceptions <= _IMAGES * self.images


def _accounts(each: Probe, sample: Sample) -> Iterator[_Account]:
    bounds, perturbation = sample.victim.bounds, each.attack.perturbation
    ends = []
    for number in range(_CHANGES):
        draw = Draw(sample.seed, sample.ids, _DRAW_NUMBER + number)
        ends.append(
            perturbation.apply(sample.images, perturbation.random(sample.images, draw, bounds), bounds).detach()
        )
    for intervals in _INTERVALS:
        pairs = [_followed(sample, end, intervals) for end in ends]
        actual, predicted = (torch.stack(values) for values in zip(*pairs, strict=True))
        yield _account(actual, predicted, _rounding(sample), last=intervals == _INTERVALS[-1])


def _account(actual: Tensor, predicted: Tensor, rounding: float, last: bool) -> _Account:
    """Of the changes [_CHANGES, M] of the margins; images whose margin does not change at all do not count."""
    change, missed = (torch.linalg.vector_norm(values, dim=0) for values in (actual, actual - predicted))
    counted = torch.maximum(change, torch.linalg.vector_norm(predicted, dim=0)) > rounding
    unexplained = missed[counted] / change[counted].clamp_min(rounding)
    median = float(unexplained.median()) if len(unexplained) else 0.0
    return _Account(len(unexplained), median, int((unexplained > _UNEXPLAINED).sum()), last)


def _rounding(sample: Sample) -> float:
    unit = max(torch.finfo(sample.victim.dtype).eps, torch.finfo(torch.float32).eps)
    return max(_ROUNDINGS * unit * float(sample.logits.abs().max()), torch.finfo(torch.float32).tiny)


def _followed(sample: Sample, end: Tensor, intervals: int) -> tuple[Tensor, Tensor]:
    """Change of the margin [M] from the clean images to `end`, as it is and as the gradient adds up on the way."""
    shares = [number / intervals for number in range(intervals + 1)]
    nodes = [_margin_and_gradient(sample, torch.lerp(sample.images, end, share)) for share in shares]
    path = (end - sample.images).double().flatten(1)
    slopes = [(gradient.double().flatten(1) * path).sum(dim=1) for _, gradient in nodes]
    predicted = torch.stack([(before + after) / 2 for before, after in pairwise(slopes)]).mean(dim=0)
    return nodes[-1][0].double() - nodes[0][0].double(), predicted


def _margin_and_gradient(sample: Sample, images: Tensor) -> tuple[Tensor, Tensor]:
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        margin = _margin(sample, sample.victim(images))
        if not margin.requires_grad:
            return margin, torch.zeros_like(images)
        (gradient,) = torch.autograd.grad(margin.sum(), images, allow_unused=True)
    return margin.detach(), torch.zeros_like(images) if gradient is None else gradient


def _margin(sample: Sample, logits: Tensor) -> Tensor:
    """The margin; of a guarded victim that of its classes less the detector's excess, so that both are looked at."""
    if not sample.victim.guarded:
        return Margin()(logits, sample.targets)
    return Margin()(logits[:, :-1], sample.targets) - logits[:, -1]


def _what_hides(sample: Sample) -> str:
    with torch.no_grad(), ForwardWatch() as watch:
        sample.victim(sample.images)
    found = []
    if watch.random_operations:
        found.append(f"it draws random numbers ({', '.join(sorted(watch.random_operations))})")
    if watch.stepped_operations:
        found.append(f"it rounds or chooses ({', '.join(sorted(watch.stepped_operations))})")
    return f" While the model answers, {' and '.join(found)}." if found else ""
