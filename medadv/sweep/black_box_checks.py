"""Trust checks against searches without gradients: no more is found (C6), and what is found, the attack finds (C16)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv.attacks import Attack
from medadv.objectives import Margin, Objective, Stabilised, Undetected
from medadv.sweep.black_box import QUERIES, Beyond, BlackBox, beyond, searched
from medadv.sweep.planted import DetectorAlone, PlantedVictim
from medadv.sweep.sample import TOLERANCE, Finding, Probe, Sample, joined, judged, not_run

# Of the way of the margin from the clean image to the best that the black box found; what is left to the attack.
_LEEWAY = 0.2


def no_black_box_stronger(
    probes: Sequence[Probe],
    found: Sequence[BlackBox],
    sample: Sample,
    transferred: Sequence[Sequence[BlackBox]] | None = None,
) -> Finding:
    """C6: what withstands an attack must withstand a search without gradients, and attacks made on other models.

    Args:
        probes: the attacks, tried on the sample.
        found: by the black box, for each of them.
        sample: the images.
        transferred: what attacks on surrogates do to each of them; None where no surrogate was named.

    Returns:
        Passed where none of them breaks images in addition, but for at most 5 % of the sample that the attack breaks,
        too, when it is repeated with other random numbers.
    """
    parts = []
    passed = True
    for each, box, others in zip(probes, found, transferred or [[]] * len(probes), strict=True):
        if len(each.survivors) == 0:
            parts.append(f"{each}: breaks all {len(sample)} images itself")
            continue
        more = beyond(each, [box, *others], sample)
        passed = passed and not more.shows_more
        counts = [f"{box.title} with {QUERIES} queries breaks {_broken(box)}"]
        counts += [f"{other.title} {_broken(other)}" for other in others]
        parts.append(f"{each}: {', '.join(counts)} of the {len(each.survivors)} images that withstand{_luck(more)}")
    without = " No surrogate was named, so that no attack was made on another model." if transferred is None else ""
    return judged(passed, joined(parts) + without)


def _luck(more: Beyond) -> str:
    if more.by_chance == 0:
        return ""
    return f" ({more.by_chance} of them the attack breaks, too, when it is repeated with other random numbers)"


def _broken(box: BlackBox) -> int:
    return int(box.result.success.sum())


def planted_weakness(probes: Sequence[Probe], found: Sequence[BlackBox], sample: Sample) -> Finding:
    """C16: an attack must break a network with a weakness that is known to be there.

    The network is the user's own, but each image's answer turns wrong nearer to the clean image or further away: where
    the margin has come 80 % of the way to the best that a search without gradients found in the budget. So each image
    has a change in the budget that breaks it, not every change does, and an attack that follows a gradient which leads
    somewhere finds one. After the active tests of Zimmermann et al., "Increasing confidence in adversarial robustness
    evaluations" (2022), which train a new last layer for each image; moving the threshold is ours.

    Of a model with a detector the change must also pass: where it is rejected, the threshold of the score is raised a
    fifth of its way beyond it. Then the detector is tried alone, beside a classifier that is always wrong: it rejects
    all but what has come 80 % of the way to the least suspicious change that such a search found.

    Args:
        probes: the attacks, tried on the sample.
        found: by the black box, for each of them.
        sample: the images.

    Returns:
        Passed where each attack misses at most 5 % of the sample, and so for the detector alone.
    """
    parts = []
    passed = True
    counted = 0
    allowed = int(TOLERANCE * len(sample))
    for each, box in zip(probes, found, strict=True):
        trials = {f"{each}": _planted(each.attack, box, sample)}
        if sample.victim.guarded:
            trials[f"{each}, the detector alone"] = _of_the_detector(each.attack, sample)
        for title, trial in trials.items():
            counted += trial.planted
            found_enough = trial.planted - trial.found <= allowed
            passed = passed and found_enough
            parts.append(f"{title}: {trial}{'' if found_enough else _missed_by(each, trial, allowed)}")
    if counted == 0:
        return not_run(
            "No weakness could be planted: no change that a search without gradients found brings an answer nearer to "
            "a wrong one, twice in the same way."
        )
    return judged(passed, joined(parts))


@dataclass(frozen=True)
class _Trial:
    """In how many of the images that a search looked at a weakness was planted, and in how many it is found.

    `again` says in how many another attack finds it.
    """

    searched_with: str
    images: int
    planted: int
    found: int
    again: Callable[[Attack], int]

    def __str__(self) -> str:
        return (
            f"where {self.searched_with} with {QUERIES} queries shows a weakness to plant, in {self.planted} of "
            f"{self.images} images, the attack finds it in {self.found}"
        )


def _planted(attack: Attack, box: BlackBox, sample: Sample) -> _Trial:
    """Plant the weaknesses that a search found, and attack."""
    part, best = _before_and_after(box, sample)
    if not sample.victim.guarded:
        return _tried(attack, box, part, _nearer(part.logits, best, part.targets))
    nearer = _nearer(part.logits[:, :-1], best[:, :-1], part.targets)
    # The detector lets what was found pass; where it does so anyway, it stays as it is.
    alarms = torch.where(best[:, -1] > 0, _laxer(part.logits, best), torch.zeros_like(nearer))
    return _tried(attack, box, part, nearer, alarms)


def _of_the_detector(attack: Attack, sample: Sample) -> _Trial:
    """The same for the detector of a guarded victim alone."""
    classes = sample.logits.shape[1] - 1
    targets = torch.zeros_like(sample.targets)
    victim = DetectorAlone(sample.victim, DetectorAlone.wrong_answer(targets, classes))
    with torch.no_grad():
        alone = replace(sample, victim=victim, targets=targets, logits=victim(sample.images))
    # What the attack raises of the classes plays no part, as they are wrong already.
    attack = replace(attack, objective=Undetected())
    box = searched(attack, alone, torch.arange(len(sample), device=sample.ids.device))
    part, best = _before_and_after(box, alone)
    alarms = _laxer(part.logits, best)
    return _tried(attack, box, part, torch.zeros_like(alarms), alarms)


def _before_and_after(box: BlackBox, sample: Sample) -> tuple[Sample, Tensor]:
    """The images that were searched, and what the model says of what was found."""
    with torch.no_grad():
        return sample.part(box.rows), sample.victim(box.result.images)


def _nearer(clean: Tensor, best: Tensor, targets: Tensor) -> Tensor:
    """The margin at which classes turn: a fifth of the way back from the best change, 0 where they are wrong anyway."""
    before, after = (Margin()(logits, targets) for logits in (clean, best))
    return torch.where(before > 0, torch.zeros_like(after), after - _LEEWAY * (after - before).abs())


def _laxer(clean: Tensor, best: Tensor) -> Tensor:
    """The excess from which a detector rejects: a fifth of its way beyond the best change."""
    return best[:, -1] + _LEEWAY * (best[:, -1] - clean[:, -1]).abs()


def _tried(attack: Attack, box: BlackBox, part: Sample, *thresholds: Tensor) -> _Trial:
    """In how many of the images that were searched these thresholds are a weakness, and in how many it is found."""
    planted = PlantedVictim(part.victim, part.targets, *thresholds)
    with torch.no_grad():
        logits = planted(part.images)
        right = planted.correct(logits, part.targets)
        wrong = ~planted.correct(planted(box.result.images), part.targets)
    rows = (right & wrong).nonzero().flatten()
    chosen = replace(part.part(rows), logits=logits[rows])
    victim = PlantedVictim(part.victim, chosen.targets, *(values[rows] for values in thresholds))

    def found(attack: Attack) -> int:
        if len(rows) == 0:
            return 0
        # Without early stopping the batch stays whole, as the planted network needs it.
        return int(replace(chosen, victim=victim).attack(replace(attack, stop_early=False)).success.sum())

    return _Trial(box.title, len(box.rows), len(rows), found(attack), found)


def _missed_by(each: Probe, trial: _Trial, allowed: int) -> str:
    """What is said of an attack that misses more weaknesses than are allowed."""
    return f"{_with_the_margin(each, trial)} (at most {allowed} may be missed)"


def _with_the_margin(each: Probe, trial: _Trial) -> str:
    """What an attack that misses weaknesses finds of them with the margin as its objective, if it has another."""
    attack = each.attack
    objective = _margin_within(attack.objective)
    if objective == attack.objective:
        return ""
    found = trial.again(replace(attack, objective=objective))
    return f", and in {found} with objective={objective!r}" if found > trial.found else ""


def _margin_within(objective: Objective) -> Objective:
    if isinstance(objective, Undetected | Stabilised):
        return replace(objective, objective=_margin_within(objective.objective))
    return Margin()
