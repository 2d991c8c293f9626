"""One attack on one surrogate at one budget: who is fooled, and how real the images look."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.metrics.realism import (
    NaturalSceneModel,
    log_ratio_bending,
    log_ratio_variation,
    natural_scene_features,
    psnr,
    ssim,
)
from medadv.models import Victim
from medadv.sweep.unit import Unit
from studies._common.parts import Json, Parts
from studies._common.preparation import NetworkName, Prepared

# What each measure of realism is where nothing was changed.
UNCHANGED = {"ssim": 1.0, "squared change": 0.0, "naturalness": 0.0, "variation": 0.0, "bending": 0.0}
_DIGITS = 6


def outcome(
    parts: Parts, prepared: Prepared, naturalness: NaturalSceneModel, surrogate: NetworkName, attack: BudgetedAttack
) -> Json:
    """Attack the surrogate and show the images to every network.

    Args:
        parts: where finished outcomes are kept.
        prepared: images and networks.
        naturalness: fitted on clean training images.
        surrogate: the network that is attacked.
        attack: with its budget.

    Returns:
        "fooled": 0 or 1 per image, by the name of every network, the surrogate too; "realism": a number per image, by
        the keys of `UNCHANGED`; "forwards" and "backwards" per image, means.
    """
    victims = sorted(prepared.victims)
    unit = Unit(
        "bias field outcome",
        {
            "attack": attack.configuration(),
            "surrogate": prepared.sha256[surrogate],
            "victims": [[name(victim), prepared.sha256[victim]] for victim in victims],
            "training": prepared.training.sha256,
            "images": prepared.ids.tolist(),
            "set": prepared.source.name,
        },
    )
    return parts.get(unit, lambda: _computed(prepared, naturalness, surrogate, attack))


def name(network: NetworkName) -> str:
    """How parts and results call a network.

    >>> name(("dense", 1))
    'dense 1'
    """
    return f"{network[0]} {network[1]}"


def _computed(
    prepared: Prepared, naturalness: NaturalSceneModel, surrogate: NetworkName, attack: BudgetedAttack
) -> Json:
    result = attack(prepared.victims[surrogate], prepared.images, prepared.targets, prepared.ids)
    fooled = {
        name(network): _wrong(victim, result.images, prepared.targets) for network, victim in prepared.victims.items()
    }
    return {
        "fooled": fooled,
        "realism": _realism(naturalness, prepared.images, result.images),
        "forwards": float(result.forwards.double().mean()),
        "backwards": float(result.backwards.double().mean()),
    }


def _wrong(victim: Victim, images: Tensor, targets: Tensor) -> list[int]:
    with torch.no_grad():
        wrong = ~victim.correct(victim(images), targets)
    return [int(each) for each in wrong]


def _realism(naturalness: NaturalSceneModel, clean: Tensor, changed: Tensor) -> dict[str, list[float]]:
    distances = [naturalness.distance(natural_scene_features(images)) for images in (clean, changed)]
    measures: dict[str, Any] = {
        "ssim": ssim(clean, changed),
        "squared change": 10 ** (-psnr(clean, changed) / 10),
        "naturalness": distances[1] - distances[0],
        "variation": log_ratio_variation(clean, changed),
        "bending": log_ratio_bending(clean, changed),
    }
    return {measure: [float(f"{value:.{_DIGITS}g}") for value in values] for measure, values in measures.items()}
