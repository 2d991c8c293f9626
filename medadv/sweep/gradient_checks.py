"""Trust checks of the gradient: there is one (C3), it sees the whole model (C17)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from medadv.attacks import Attack, Draw
from medadv.models import Victim
from medadv.models.bpda import stand_ins_in_place
from medadv.objectives import Margin
from medadv.sweep.black_box import Beyond, BlackBox, beyond
from medadv.sweep.forward_watch import ForwardWatch
from medadv.sweep.plan import Curve
from medadv.sweep.sample import Finding, Probe, Sample, joined, judged, not_run, percent

_CHANGES = 2  # random changes per image along which the gradient is followed
_INTERVALS = (2, 8)  # of the trapezoidal rule; the second only where the first is too coarse for a sound model
_UNEXPLAINED = 0.3  # of the change of the margin, in an image whose gradient is whole
_IMAGES = 0.25  # of the sample may be an exception
_ROUNDINGS = 100.0  # the least change of a margin that is more than rounding, in units of the last place of a logit
# Beyond the restarts of any attack, so that no change is one of its random starts.
_DRAW_NUMBER = 2**34

Slope = Callable[[Sample, Tensor, int], Tensor]
"""The gradient that is followed, [M, C, *S], at images of the sample on the way, and the number of the place."""


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


def whole_defence(
    probes: Sequence[Probe], sample: Sample, boxes: Sequence[Sequence[BlackBox]] | None = None
) -> Finding:
    """C17: the gradient along a path from the clean image must add up to the change of the margin at its end.

    So it is for every model whose gradient is whole, by the fundamental theorem of line integrals. It is not where a
    part of the model is hidden from the gradient (detached, rounded, replaced by something else on the way back), is
    random, or changes faster than any step of an attack can follow. Paths are straight, in the image, towards random
    changes of the attack's kind and budget, so the attack's own perturbation plays no part (ours).

    A gradient may be another one on purpose: that of a stand-in (`medadv.models.BPDA`), or of other draws than those by
    which a `medadv.models.RandomisedVictim` is judged. The rule then holds for the model with its stand-ins in place
    and with its fixed draws, so that nothing else is hidden. What the attack follows is compared with what the model
    does, too; where they differ, that is no fault unless something without gradients finds more than the attack.

    Args:
        probes: the attacks.
        sample: the images.
        boxes: what was found without gradients of the model, for each of the attacks; None: nothing was tried.

    Returns:
        Passed where the gradient leaves at most 30 % of the change unexplained, in 75 % of the images.
    """
    parts = []
    passed = True
    moved = False
    module = sample.victim.module
    for each, found in zip(probes, boxes or [[]] * len(probes), strict=True):
        with stand_ins_in_place(module) as stand_ins:
            whole = _decisive(each, sample, _of_the_judge)
        if whole.images == 0:
            parts.append(f"{each}: random changes move the answer by no more than rounding")
            continue
        moved = True
        passed = passed and whole.good
        where = f", where {_counted(stand_ins)} the place of what it stands for" if stand_ins else ""
        parts.append(f"{each}: along random changes of this budget the gradient leaves {whole}{where}")
        if stand_ins or sample.victim.randomised:
            followed = _decisive(each, sample, _of_the_attack(_samples(each, sample)))
            more = beyond(each, found, sample)
            passed = passed and (followed.good or not more.shows_more)
            parts.append(f"{_what_it_follows(each, sample)} leaves {followed}{'' if followed.good else _told(more)}")
    if not moved:
        return not_run(joined(parts))
    return judged(passed, joined(parts) + ("" if passed else _what_hides(sample)))


def _decisive(each: Probe, sample: Sample, slope: Slope) -> _Account:
    return next(account for account in _accounts(each, sample, slope) if account.good or account.last)


def _counted(stand_ins: int) -> str:
    return "1 stand-in takes" if stand_ins == 1 else f"each of {stand_ins} stand-ins takes"


def _what_it_follows(each: Probe, sample: Sample) -> str:
    draws = f" in {_samples(each, sample)} draws other than those of the judge" if sample.victim.randomised else ""
    return f"compared with the model as it is judged, the gradient that the attack follows{draws}"


def _told(more: Beyond) -> str:
    broken = "images" if more.images else "none of the images"
    luck = "" if more.shows_more or more.images == 0 else ", which the attack breaks, too, when it is repeated"
    return f", and what was tried without it breaks {broken} that withstand{luck}"


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

    def __str__(self) -> str:
        return (
            f"{percent(self.median)} (median) of the change of the margin unexplained, and more than "
            f"{percent(_UNEXPLAINED)} in {self.exceptions} of {self.images} images"
        )


def _accounts(each: Probe, sample: Sample, slope: Slope) -> Iterator[_Account]:
    bounds, perturbation = sample.victim.bounds, each.attack.perturbation
    ends = []
    for number in range(_CHANGES):
        draw = Draw(sample.seed, sample.ids, _DRAW_NUMBER + number)
        ends.append(
            perturbation.apply(sample.images, perturbation.random(sample.images, draw, bounds), bounds).detach()
        )
    for intervals in _INTERVALS:
        pairs = [_followed(sample, end, intervals, slope) for end in ends]
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


def _followed(sample: Sample, end: Tensor, intervals: int, slope: Slope) -> tuple[Tensor, Tensor]:
    """Change of the margin [M] from the clean images to `end`, as it is and as the gradient adds up on the way."""
    places = [torch.lerp(sample.images, end, number / intervals) for number in range(intervals + 1)]
    path = (end - sample.images).double().flatten(1)
    slopes = [
        (slope(sample, place, number).double().flatten(1) * path).sum(dim=1) for number, place in enumerate(places)
    ]
    predicted = torch.stack([(before + after) / 2 for before, after in pairwise(slopes)]).mean(dim=0)
    with torch.no_grad():
        before, after = (_margin(sample, sample.victim(place)).double() for place in (places[0], places[-1]))
    return after - before, predicted


def _of_the_judge(sample: Sample, images: Tensor, place: int) -> Tensor:
    """The gradient of the margin as the victim is judged."""
    return _gradient(sample.victim, sample, images)


def _samples(each: Probe, sample: Sample) -> int:
    """How many draws of a random model an attack averages its gradients over."""
    return each.attack.gradient.samples if sample.victim.randomised else 1


def _of_the_attack(samples: int) -> Slope:
    """The gradient of the margin in so many draws, which are not those by which the victim is judged."""

    def slope(sample: Sample, images: Tensor, place: int) -> Tensor:
        draws = [sample.victim.fresh(_DRAW_NUMBER, place, number) for number in range(samples)]
        return torch.stack([_gradient(victim, sample, images) for victim in draws]).mean(dim=0)

    return slope


def _gradient(victim: Victim, sample: Sample, images: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        margin = _margin(sample, victim(images))
        if not margin.requires_grad:
            return torch.zeros_like(images)
        (gradient,) = torch.autograd.grad(margin.sum(), images, allow_unused=True)
    return torch.zeros_like(images) if gradient is None else gradient


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
