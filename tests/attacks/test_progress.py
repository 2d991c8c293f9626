"""How far an attack is: told by every attack, rising, and nothing else is changed by being watched."""

import pytest
import torch
from support.registry import ATTACKS

from medadv.attacks import PGD
from medadv.attacks.progress import told, watched

ONE_LOOK = ("fgsm", "random-noise", "deepfool")  # a step or a draw; here DeepFool needs no second step


def test_loops_inside_loops_share_their_part():
    heard = []
    with watched(heard.append, start=0.5, width=0.25):
        for _ in told(range(2)):
            for _ in told("ab"):
                pass
        for step in told(range(4)):  # another search begins anew
            if step == 2:
                break
    assert heard == [0.5, 0.5, 0.5625, 0.625, 0.625, 0.6875, 0.5, 0.5625, 0.625]


def test_a_loop_that_is_left_gives_back_its_part():
    heard = []

    def inner():
        for step in told(range(4)):
            if step == 1:
                return

    with watched(heard.append):
        for _ in told(range(2)):
            inner()
    assert heard == [0.0, 0.0, 0.125, 0.5, 0.5, 0.625]


def test_whoever_watches_no_longer_hears_nothing():
    heard, others = [], []
    with watched(heard.append):
        with watched(others.append):
            list(told(range(2)))
        list(told(range(1)))
    assert list(told(range(2))) == [0, 1]
    assert (heard, others) == ([0.0], [0.0, 0.5])
    with pytest.raises(KeyError), watched(heard.append):
        raise KeyError
    list(told(range(2)))
    assert heard == [0.0]


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_tells_how_far_it_is(lab, name):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (4, 1, 8, 8))
    y = lab.answers(victim, x)
    attack = ATTACKS[name]()
    heard = []
    unwatched = attack(victim, x, y)
    with watched(heard.append):
        result = attack(victim, x, y)
    assert heard[0] == 0
    assert heard == sorted(heard)
    assert heard[-1] < 1
    assert len(set(heard)) > 1 or name in ONE_LOOK
    for field in ("images", "status", "loss", "distance", "forwards", "backwards", "step"):
        assert torch.equal(getattr(result, field), getattr(unwatched, field)), field


def test_the_share_is_that_of_the_steps(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (4, 1, 8, 8))
    heard = []
    with watched(heard.append):
        PGD(steps=4, restarts=2, stop_early=False)(victim, x, lab.answers(victim, x))
    assert heard == [0.0, 0.0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.625, 0.75, 0.875]
