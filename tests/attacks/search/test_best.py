"""Starts at the best of several random points."""

import math

import pytest
import torch
from torch import nn

from medadv.attacks import AffineAttack, IntensityAttack
from medadv.attacks.randomness import Draw
from medadv.attacks.search.best import Best
from medadv.models import Victim
from medadv.objectives import Margin


class Peaks(nn.Module):
    """Wrong in a narrow stretch of mean brightness, around 0.6, on the highest of nine peaks that rise towards it."""

    def forward(self, images):
        away = images.double().mean(dim=(1, 2, 3)) - 0.6
        margin = 0.1 * torch.cos(2 * math.pi * away / 0.05) - 4 * away.abs() - 0.05
        return torch.stack([torch.zeros_like(margin), margin], dim=1)


GREY = torch.full((60, 1, 4, 4), 0.5)  # a gamma of 2 and its inverse make it 0.25 and 0.71
RIGHT = torch.zeros(60, dtype=torch.int64)
SMALL_STEPS = {"window": 0.0, "adaptive": False, "step_size": 0.02, "steps": 8}


def test_the_best_of_several_starts_finds_the_highest_peak_where_more_restarts_do_not():
    victim = Victim(Peaks().eval())
    with_draws = IntensityAttack(2.0, restarts=3, draws=20, **SMALL_STEPS)(victim, GREY, RIGHT)
    without = IntensityAttack(2.0, restarts=7, draws=1, **SMALL_STEPS)(victim, GREY, RIGHT)
    assert with_draws.success.double().mean() > 0.9
    assert without.success.double().mean() < 0.7
    assert (with_draws.forwards + with_draws.backwards).max() <= 1 + 3 * (20 + 17)
    assert (without.forwards + without.backwards).max() == 1 + 7 * 17


def test_the_start_is_the_best_draw_and_every_draw_is_paid_for(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    y = lab.answers(victim, x)
    # A step of next to nothing: the best image seen is the best of the draws.
    attack = AffineAttack(0.2, restarts=1, draws=5, steps=1, step_size=1e-30, stop_early=False)
    result = attack(victim, x, y)
    draw = Draw(0, torch.arange(6), 0)
    drawn = [attack.perturbation.random(x, draw, victim.bounds) for _ in range(5)]
    with torch.no_grad():
        losses = torch.stack([Margin()(victim(attack.perturbation.apply(x, each, victim.bounds)), y) for each in drawn])
    torch.testing.assert_close(result.loss, losses.amax(0))
    assert result.forwards.tolist() == [1 + 5 + 2] * 6
    assert result.backwards.tolist() == [1] * 6


def test_images_that_a_draw_breaks_leave_at_once(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (40, 1, 8, 8))
    y = lab.answers(victim, x)
    result = AffineAttack(restarts=1, draws=8)(victim, x, y)
    at_a_draw = result.success & (result.backwards == 0)
    assert bool(at_a_draw.any())
    assert int(result.forwards[at_a_draw].max()) <= 1 + 8 + 1
    assert set(result.step[at_a_draw].tolist()) == {0}
    alone = AffineAttack(restarts=1, draws=8)(victim, x[7:8], y[7:8], torch.tensor([7]))
    assert torch.equal(alone.images[0], result.images[7])


def test_the_first_of_equals_is_kept():
    best = Best()
    for number, values in enumerate(([0.0, 2.0], [0.0, 1.0], [3.0, 2.0])):
        best.see({"noise": torch.full((2, 3), float(number))}, torch.tensor(values))
    assert best.parameters["noise"][:, 0].tolist() == [2.0, 0.0]
    best.keep(torch.tensor([False, True]))
    assert best.values.tolist() == [2.0]
    assert best.parameters["noise"].shape == (1, 3)


@pytest.mark.parametrize("kind", [AffineAttack, IntensityAttack])
def test_no_draws_without_a_random_start(kind):
    with pytest.raises(ValueError, match="^draws must be 1 without random_start, got 3"):
        kind(random_start=False, restarts=1, draws=3)
