"""One attack on one network at one budget: who is fooled, and by how much the loss rises."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.objectives import CrossEntropy
from medadv.sweep.unit import Unit
from studies._common.parts import Json, Parts
from studies._common.preparation import NetworkName, Prepared

_DIGITS = 6


def outcome(parts: Parts, prepared: Prepared, network: NetworkName, attack: BudgetedAttack) -> Json:
    """Attack a network.

    Args:
        parts: where finished outcomes are kept.
        prepared: images and networks.
        network: which is attacked.
        attack: with its budget.

    Returns:
        Per image "fooled", 0 or 1, and "damage", the rise of the cross-entropy, measured afresh; "forwards" and
        "backwards", means over images.
    """
    unit = Unit(
        "stabilised outcome",
        {
            "attack": attack.configuration(),
            "network": prepared.sha256[network],
            "images": prepared.ids.tolist(),
            "training": prepared.training.sha256,
            "set": prepared.source.name,
        },
    )
    return parts.get(unit, lambda: _computed(prepared, network, attack))


def _computed(prepared: Prepared, network: NetworkName, attack: BudgetedAttack) -> Json:
    victim, targets = prepared.victims[network], prepared.targets
    result = attack(victim, prepared.images, targets, prepared.ids)
    with torch.no_grad():
        before, after = victim(prepared.images), victim(result.images)
    damage = CrossEntropy()(after.double(), targets) - CrossEntropy()(before.double(), targets)
    return {
        "fooled": [int(wrong) for wrong in ~victim.correct(after, targets)],
        "damage": _rounded(damage),
        "forwards": float(result.forwards.double().mean()),
        "backwards": float(result.backwards.double().mean()),
    }


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]
