"""Attacks through a defence that autograd cannot follow."""

import pytest
import torch
from torch import nn

from medadv.attacks import APGD, DDN, PGD, BiasFieldAttack
from medadv.models import BPDA, Victim

LEVELS = 8


def rounded(images):
    return (images * LEVELS).round() / LEVELS


class Hidden(nn.Module):
    """Rounds, so that the gradient is zero everywhere."""

    def forward(self, images):
        return rounded(images)


class Standardised(nn.Module):
    def forward(self, images):
        return ((images - 0.5) * 4).double()


def victims(lab, axes=2, channels=1):
    net = lab.curved_victim(axes=axes, channels=channels).module
    return [Victim(nn.Sequential(first, Standardised(), net).eval()) for first in (Hidden(), BPDA(rounded))]


@pytest.mark.parametrize(("axes", "channels"), [(2, 1), (3, 4)])
@pytest.mark.parametrize("attack", [PGD(0.1, steps=10), APGD(0.1, steps=10), BiasFieldAttack(1.6, steps=10)])
def test_attacks_see_through_rounding(lab, axes, channels, attack):
    hidden, known = victims(lab, axes, channels)
    x = lab.images_in((0.0, 1.0), (24, channels, *[9, 8, 7][:axes]))
    y = lab.answers(hidden, x)
    assert torch.equal(lab.answers(known, x), y)
    blind, seeing = attack(hidden, x, y), attack(known, x, y)
    assert seeing.robust_accuracy < blind.robust_accuracy - 0.25
    # What fools it, fools the defence itself.
    assert torch.equal(lab.answers(hidden, seeing.images) != y, seeing.success)


def test_minimum_norm_attacks_too(lab):
    hidden, known = victims(lab)
    x = lab.images_in((0.0, 1.0), (12, 1, 8, 8))
    y = lab.answers(hidden, x)
    result = DDN(steps=40)(known, x, y)
    assert result.success.all()
    assert bool((lab.answers(hidden, result.images) != y).all())


def test_results_do_not_depend_on_batch_size_or_order(lab):
    _, known = victims(lab)
    x = lab.images_in((0.0, 1.0), (64, 1, 8, 8))
    y = lab.answers(known, x)
    whole = PGD(0.06, steps=5)(known, x, y)
    assert whole.success.any()
    assert whole.robust.any()
    for rows in (*torch.arange(64).split(7)[4:6], *torch.arange(64).split(1)[9:11], torch.arange(64).flip(0)):
        part = PGD(0.06, steps=5)(known, x[rows], y[rows], rows)
        for field in ("images", "status", "predictions", "forwards", "backwards", "step", "distance"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field
