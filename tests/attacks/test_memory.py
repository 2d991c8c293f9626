"""What an attack worked with is let go when it returns, not when the garbage collector comes by."""

from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from support.memory import tensors_in_circles

from medadv.attacks import ATTACKS, FAB, PGD, Ensemble, Universal, budget_curve, transfer
from medadv.perturbations import Additive

FEW = {"steps": 4, "queries": 60}


def brief(attack):
    """With few steps or queries, where their number is free."""
    names = {item.name for item in fields(attack)} if attack.name != "fgsm" else set()
    return replace(attack, **{name: count for name, count in FEW.items() if name in names})


@pytest.mark.parametrize("name", ATTACKS)
def test_no_tensor_outlives_the_attack(lab, name):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    attack, y = brief(ATTACKS[name]()), lab.answers(victim, x)
    assert tensors_in_circles(lambda: attack(victim, x, y)) == 0


MADE_OF_OTHERS = {
    "ensemble": Ensemble((PGD(0.1, steps=2), FAB(steps=2))),
    "universal": Universal(Additive(0.1), epochs=2).fit,
    "curve": partial(budget_curve, PGD(steps=2), [0.0, 0.1]),
    "transfer": lambda victim, images, targets: transfer(FAB(steps=2), victim, victim, images, targets),
}


@pytest.mark.parametrize("name", MADE_OF_OTHERS)
def test_nor_one_made_of_others(lab, name):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    y = lab.answers(victim, x)
    assert tensors_in_circles(lambda: MADE_OF_OTHERS[name](victim, x, y)) == 0


def test_a_circle_is_seen():
    def run():
        circle = [torch.zeros(2)]
        circle.append(circle)

    assert tensors_in_circles(run) == 1
