"""Trust checks of the attacks: C7, C9, C12, C13 and C14, each by trying something else on the sample.

They look at one budget of each attack, the one at which about half of the images withstand: where all are broken, or
none, a weak attack looks like a strong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isinf
from typing import Any

import torch
from torch import Tensor

from medadv.attacks import Gradient, random_changes
from medadv.sweep.black_box import by_chance
from medadv.sweep.constraint import result_violations, shows_in_images, spent, violations
from medadv.sweep.plan import Curve, Evaluation
from medadv.sweep.result_checks import Point, read_points
from medadv.sweep.sample import TOLERANCE, Finding, Probe, Sample, budget_text, joined, judged, not_run, percent
from medadv.sweep.store import Store
from medadv.sweep.taken_for_granted import granted_rows

_DRAWS = 10  # of random changes per image
_SINGLE_STEP: dict[str, Any] = {
    "steps": 1,
    "step_size": 1.0,
    "momentum": 0.0,
    "adaptive": False,
    "gradient": Gradient(),
    "restarts": 1,
    "random_start": False,
    "draws": 1,
}
_LEVELS = {8: 255, 16: 65535}


def probe(curve: Curve, store: Store, sample: Sample, falls: bool = False) -> Probe:
    """An attack at its most telling budget, tried on the sample.

    Args:
        curve: the attack and its budgets.
        store: results of all of them.
        sample: the images.
        falls: whether its budgets fell.

    Returns:
        The budget where the share of right images that withstand is nearest to a half, and the result there. Of
        budgets that are equally near, the largest if they break few images, else the smallest.
    """
    step = telling_step(curve, store)
    attack = curve.gradient_attacks[step]
    granted = granted_rows(curve, store, sample)[step] if falls else None
    return Probe(attack, sample.attack(attack), granted, curve.label)


def telling_step(curve: Curve, store: Store) -> int:
    """Where a weak attack is told from a strong one: index of the budget that `probe` takes.

    Args:
        curve: the attack and its budgets.
        store: results of all of them.
    """

    def telling(point: Point) -> tuple[float, float]:
        share = point.robust / max(point.correct, 1)
        return abs(share - 0.5), -point.budget if share > 0.5 else point.budget

    nearest = min((point for point in read_points(store) if point.attack == curve.label), key=telling)
    return curve.budgets.index(nearest.budget)


def single_step(probes: Sequence[Probe], sample: Sample) -> Finding:
    """C7: a single step over the whole budget must not break images that the attack itself does not.

    Args:
        probes: the attacks.
        sample: the images.

    Returns:
        Passed where it breaks no more images than the attack, and at most 5 % of the sample in addition.
    """
    parts = []
    passed = True
    for each in probes:
        single = replace(each.attack, **_SINGLE_STEP)
        broken = sample.attack(single).success
        more, beaten = _compared(each, broken, sample)
        passed = passed and not beaten
        parts.append(
            f"{each}: one step breaks {int(broken.sum())} of {len(sample)} images, {_steps(each)} break "
            f"{len(each.broken)}, and {more} only the one step"
        )
    return judged(passed, joined(parts))


def _compared(each: Probe, broken: Tensor, sample: Sample) -> tuple[int, bool]:
    """How many images something lesser breaks beyond the attack, and whether it breaks more in all.

    An image that the attack breaks, too, in another run with other random numbers is no more (`by_chance`).
    """
    rows = (broken & each.result.robust).nonzero().flatten()
    in_all = len(each.broken)
    if int(broken.sum()) > in_all:
        in_all += by_chance(each, rows, sample)
    return len(rows), int(broken.sum()) > in_all or len(rows) > TOLERANCE * len(sample)


def converged(probes: Sequence[Probe], sample: Sample) -> Finding:
    """C9: twice the steps must not break many more images, nor the attack those that it was not made on.

    Args:
        probes: the attacks.
        sample: the images.

    Returns:
        Passed where they break at most 5 % of the sample in addition, and so for the attack itself on images that were
        taken to withstand it because they withstood a larger budget.
    """
    parts = []
    passed = True
    for each in probes:
        more = 0
        if len(each.survivors):
            more = int(sample.attack(each.attack.longer(), each.survivors).success.sum())
        granted = 0 if each.granted is None else int(each.result.success[each.granted].sum())
        passed = passed and max(more, granted) <= TOLERANCE * len(sample)
        parts.append(
            f"{each}: {_steps(each)} break {len(each.broken)} of {len(sample)} images, twice as many break {more} more"
            f"{'' if each.granted is None else _taken_for_granted(granted, len(each.granted))}"
        )
    return judged(passed, joined(parts))


def _taken_for_granted(broken: int, images: int) -> str:
    return (
        f" ({images} images were taken to withstand this budget because they withstand a larger one: attacked at it "
        f"here all the same, {broken} of them break)"
    )


def within_budget(probes: Sequence[Probe], evaluation: Evaluation, store: Store, sample: Sample) -> Finding:
    """C12: the budget, measured anew in float64 on the final float32 images: stored panels, and the whole sample.

    Where the images do not show it (a deformation, say), it is measured on the parameters, which are not stored.

    Args:
        probes: the attacks, tried on the sample.
        evaluation: what was evaluated.
        store: results, with panels.
        sample: the images.

    Returns:
        Passed where every image keeps its budget and the bounds.
    """
    bounds = evaluation.victim.bounds
    limits = [(curve.label, each) for curve in evaluation.curves for each in curve.attacks or curve.limits]
    attacks = {(label, each.budget): each for label, each in limits}
    measured = outside = 0
    for receipt in store.receipts("attack"):
        attack = attacks.get((receipt.unit.fields["attack"], receipt.unit.fields["budget"]))
        panels = store.artifacts(receipt.unit.id)
        if panels and attack is not None and shows_in_images(attack):
            outside += int(violations(attack, panels["clean"], panels["adversarial"], bounds).sum())
            measured += len(panels["examples"])
    for each in probes:
        outside += int(result_violations(each.attack, sample.images, each.result, bounds).sum())
        measured += len(sample)
    unseen = _not_measured(probes, evaluation)
    if measured == 0:
        return not_run(f"The budgets of {unseen} do not show in stored images.")
    sentence = f"Measured anew on {measured} attacked float32 images: {outside} outside the budget or the image range"
    return judged(outside == 0, f"{sentence}{f'; not measured: {unseen}' if unseen else ''}.")


def _not_measured(probes: Sequence[Probe], evaluation: Evaluation) -> str:
    """Names of the attacks whose budgets show neither in stored images nor in parameters that are at hand."""
    tried = {each.attack.name for each in probes}
    hidden = [
        curve.label
        for curve in evaluation.curves
        if not any(shows_in_images(each) for each in curve.attacks or curve.limits)
        and not (curve.gradient_attacks and curve.attack.name in tried)
    ]
    return ", ".join(hidden)


def verified_again(probes: Sequence[Probe], sample: Sample) -> Finding:
    """C13: images that fooled the model in a batch must fool it alone, and after rounding to 16 and 8 bits.

    Rounding to 8 bits may undo a change of less than half a grey level: that share is told and decides nothing.

    Args:
        probes: the attacks, tried on the sample.
        sample: the images.

    Returns:
        Passed where at least 95 % still fool the model alone, and after rounding to 16 bits.
    """
    parts = []
    passed = True
    for each in probes:
        rows = each.broken
        if len(rows) == 0:
            parts.append(f"{each}: no image was broken")
            continue
        images = each.result.images[rows]
        alone = torch.cat([sample.wrong(images[[row]], rows[[row]]) for row in range(len(rows))])
        wrong = {bits: sample.wrong(_rounded(images, bits, sample.victim.bounds), rows) for bits in _LEVELS}
        passed = passed and min(_share(alone), _share(wrong[16])) >= 1 - TOLERANCE
        parts.append(
            f"{each}: of {len(rows)} broken images {percent(_share(alone))} are wrong alone, "
            f"{percent(_share(wrong[16]))} after rounding to 16 bits, {percent(_share(wrong[8]))} to 8 bits"
            f"{_budget_after_rounding(each, images, sample.images[rows], sample.victim.bounds)}"
        )
    if not any(len(each.broken) for each in probes):
        return not_run(joined(parts))
    return judged(passed, joined(parts))


def noise_floor(probes: Sequence[Probe], sample: Sample) -> Finding:
    """C14: random changes of the same budget must not break images that the attack does not.

    Args:
        probes: the attacks, tried on the sample.
        sample: the images.

    Returns:
        Passed where ten draws break no more images, and at most 5 % of the sample in addition.
    """
    parts = []
    passed = True
    for each in probes:
        broken = _broken_at_random(each, sample)
        more, beaten = _compared(each, broken, sample)
        passed = passed and not beaten
        parts.append(
            f"{each}: {_DRAWS} random draws break {int(broken.sum())} of {len(sample)} images, the attack breaks "
            f"{len(each.broken)}, and {more} only the draws"
        )
    return judged(passed, joined(parts))


def _broken_at_random(each: Probe, sample: Sample) -> Tensor:
    perturbation = each.attack.perturbation
    return random_changes(
        perturbation,
        sample.victim,
        sample.images,
        sample.targets,
        sample.ids,
        sample.logits,
        draws=_DRAWS,
        seed=sample.seed,
    ).success


def _rounded(images: Tensor, bits: int, bounds: tuple[float, float]) -> Tensor:
    low, high = bounds
    levels = (images.double() - low) / (high - low) * _LEVELS[bits]
    return (levels.round() / _LEVELS[bits] * (high - low) + low).float()


def _budget_after_rounding(each: Probe, images: Tensor, clean: Tensor, bounds: tuple[float, float]) -> str:
    if not shows_in_images(each.attack):
        return ""
    largest = spent(each.attack, clean.cpu().numpy(), _rounded(images, 8, bounds).cpu().numpy(), bounds)
    if isinf(largest):
        return " (where black has become grey, which no gain makes)"
    return f" (and then use a budget of {budget_text(largest)})"


def _steps(each: Probe) -> str:
    return f"{each.attack.steps} steps" if each.attack.steps > 1 else "1 step"


def _share(values: Tensor) -> float:
    return float(values.double().mean())
