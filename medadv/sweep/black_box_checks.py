"""Trust checks against searches without gradients: no more is found (C6), and what is found, the attack finds (C16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medadv.objectives import Margin
from medadv.sweep.black_box import QUERIES, BlackBox, stronger
from medadv.sweep.planted import PlantedVictim
from medadv.sweep.sample import TOLERANCE, Finding, Probe, Sample, joined, judged, not_run

# Of the way of the margin from the clean image to the best that the black box found.
_PLANTED_AT = 0.8


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
        Passed where none of them breaks more than 0.2 % of the sample in addition.
    """
    parts = []
    passed = True
    for each, box, others in zip(probes, found, transferred or [[]] * len(probes), strict=True):
        if len(each.survivors) == 0:
            parts.append(f"{each}: breaks all {len(sample)} images itself")
            continue
        passed = passed and not stronger(each, [box, *others], sample)
        counts = [f"{box.title} with {QUERIES} queries breaks {_broken(box)}"]
        counts += [f"{other.title} {_broken(other)}" for other in others]
        parts.append(f"{each}: {', '.join(counts)} of the {len(each.survivors)} images that withstand")
    without = " No surrogate was named, so that no attack was made on another model." if transferred is None else ""
    return judged(passed, joined(parts) + without)


def _broken(box: BlackBox) -> int:
    return int(box.result.success.sum())


def planted_weakness(probes: Sequence[Probe], found: Sequence[BlackBox], sample: Sample) -> Finding:
    """C16: an attack must break a network with a weakness that is known to be there.

    The network is the user's own, but each image's answer turns wrong nearer to the clean image or further away: where
    the margin has come 80 % of the way to the best that a search without gradients found in the budget. So each image
    has a change in the budget that breaks it, not every change does, and an attack that follows a gradient which leads
    somewhere finds one. After the active tests of Zimmermann et al., "Increasing confidence in adversarial robustness
    evaluations" (2022), which train a new last layer for each image; moving the threshold is ours.

    Args:
        probes: the attacks, tried on the sample.
        found: by the black box, for each of them.
        sample: the images.

    Returns:
        Passed where each attack misses at most 5 % of the sample.
    """
    parts = []
    passed = True
    counted = 0
    for each, box in zip(probes, found, strict=True):
        planted, broken = _planted(each, box, sample)
        counted += planted
        passed = passed and planted - broken <= TOLERANCE * len(sample)
        parts.append(
            f"{each}: where {box.title} with {QUERIES} queries shows a weakness to plant, in {planted} of "
            f"{len(box.rows)} images, the attack finds it in {broken}"
        )
    if counted == 0:
        return not_run(
            "No weakness could be planted: no change that a search without gradients found brings an answer nearer to "
            "a wrong one, twice in the same way."
        )
    return judged(passed, joined(parts))


def _planted(each: Probe, box: BlackBox, sample: Sample) -> tuple[int, int]:
    """In how many images a weakness was planted, and in how many of them the attack finds it."""
    clean, best = Margin()(sample.logits[box.rows], sample.targets[box.rows]), box.result.loss
    thresholds = clean + _PLANTED_AT * (best - clean)
    rows = _can_be_planted(box, thresholds, sample)
    if len(rows) == 0:
        return 0, 0
    part = sample.part(box.rows[rows])
    victim = PlantedVictim(sample.victim, part.targets, thresholds[rows])
    with torch.no_grad():
        logits = victim(part.images)
    # Without early stopping the batch stays whole, as the planted network needs it.
    attack = replace(each.attack, stop_early=False)
    result = attack.run(victim, part.images, part.targets, part.ids, logits)
    return len(rows), int(result.success.sum())


def _can_be_planted(box: BlackBox, thresholds: Tensor, sample: Sample) -> Tensor:
    """Rows of the box that are right when clean and wrong as the box changed them, by their thresholds."""
    part = sample.part(box.rows)
    victim = PlantedVictim(sample.victim, part.targets, thresholds)
    with torch.no_grad():
        right = victim.correct(victim(part.images), part.targets)
        wrong = ~victim.correct(victim(box.result.images), part.targets)
    return (right & wrong).nonzero().flatten()
