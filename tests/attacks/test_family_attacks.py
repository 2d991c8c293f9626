"""Attacks by deformation, motion, intensity and frequency, on victims whose worst case is known."""

import pytest
import torch
from torch import nn

from medadv.attacks import (
    AffineAttack,
    ChainAttack,
    DeformationAttack,
    FlowAttack,
    FrequencyAttack,
    IntensityAttack,
)
from medadv.attacks.randomness import Draw
from medadv.models import Victim
from medadv.objectives import Margin
from medadv.perturbations import Additive, SplineBiasField, SplineDeformation

RANGES = [(0.0, 1.0), (-1024.0, 3071.0)]
SHAPES = [(1, 10, 12), (3, 9, 8), (1, 5, 6, 8)]
BOTH = pytest.mark.parametrize("bounds", RANGES)
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES)
SEARCH = {"objective": Margin(), "stop_early": False}


def brightness_victim(shape, bounds, threshold=2.0):
    """Class 1 where the mean brightness, from 0 to 1, is above the threshold."""
    pixels = torch.Size(shape).numel()
    layer = nn.Linear(pixels, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros(pixels), torch.full((pixels,), 1 / pixels)]))
        layer.bias.copy_(torch.tensor([threshold, 0.0]))
    low, high = bounds
    return Victim(nn.Sequential(nn.Flatten(), layer).eval(), bounds=bounds, mean=low, std=high - low)


def ramp(shape, bounds):
    """Brighter to the right, from a quarter to three quarters of the range."""
    low, high = bounds
    columns = torch.linspace(0.25, 0.75, shape[-1])
    return low + (high - low) * columns.expand(2, *shape).contiguous()


def zeros(count):
    return torch.zeros(count, dtype=torch.int64)


@BOTH
@EVERY_SHAPE
@pytest.mark.parametrize("kind", [DeformationAttack, FlowAttack])
def test_everything_moves_as_far_as_it_may_towards_the_light(kind, bounds, shape):
    low, high = bounds
    x = ramp(shape, bounds)
    attack = kind(displacement=1.5, smoothness=0.0, rule="sign", random_start=False, restarts=1, **SEARCH)
    result = attack(brightness_victim(shape, bounds), x, zeros(2))
    slope = 0.5 / (shape[-1] - 1)
    # The border is continued, so that the last columns gain less.
    expected = (torch.arange(shape[-1]) + 1.5).clamp(max=shape[-1] - 1) * slope + 0.25
    share = (result.images - low) / (high - low)
    # The slope along the height is zero but for rounding, and the sign of that costs some of the length.
    torch.testing.assert_close(share, expected.expand_as(share), rtol=0, atol=0.25 * slope)
    assert result.distance.tolist() == pytest.approx([1.5, 1.5], rel=0.05)


@BOTH
@EVERY_SHAPE
def test_the_image_is_pushed_towards_the_light(bounds, shape):
    low, high = bounds
    x = ramp(shape, bounds)
    result = AffineAttack(rotation=0, scaling=1, shift=0.1, **SEARCH)(brightness_victim(shape, bounds), x, zeros(2))
    assert torch.equal(result.parameters["shift"][:, -1], torch.ones(2))
    slope = 0.5 / (shape[-1] - 1)
    expected = (torch.arange(shape[-1]) + 0.1 * shape[-1]).clamp(max=shape[-1] - 1) * slope + 0.25
    share = (result.images - low) / (high - low)
    torch.testing.assert_close(share, expected.expand_as(share), rtol=0, atol=2e-5)


@BOTH
@EVERY_SHAPE
def test_the_brightest_curve_is_found(bounds, shape):
    low, high = bounds
    share = 0.2 + 0.5 * torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    x = low + (high - low) * share
    result = IntensityAttack(gamma=1.4, window=0.05, **SEARCH)(brightness_victim(shape, bounds), x, zeros(2))
    expected = (share + 0.05) ** (1 / 1.4)
    torch.testing.assert_close((result.images - low) / (high - low), expected, rtol=0, atol=2e-5)
    assert result.distance.tolist() == pytest.approx([1.4, 1.4], rel=1e-5)


@BOTH
@EVERY_SHAPE
def test_a_chain_uses_every_part(bounds, shape):
    low, high = bounds
    x = low + (high - low) * torch.full((2, *shape), 0.4)
    parts = (SplineDeformation(1.0), SplineBiasField(1.44), Additive(0.1))
    attack = ChainAttack(strength=0.5, parts=parts, **SEARCH)
    result = attack(brightness_victim(shape, bounds), x, zeros(2))
    share = (result.images - low) / (high - low)
    torch.testing.assert_close(share, torch.full_like(share, 0.4 * 1.2 + 0.05), rtol=0, atol=2e-5)


@BOTH
@EVERY_SHAPE
def test_chosen_steps_do_more_than_drawn_ones(lab, bounds, shape):
    victim, _ = lab.linear_victim(shape, bounds=bounds, mean=bounds[0], std=bounds[1] - bounds[0])
    low, high = bounds
    # So faint that most coefficients are below half a step: there the loss is smooth, elsewhere it jumps.
    x = low + (high - low) * 0.04 * lab.images_in((0.0, 1.0), (4, *shape))
    y = lab.answers(victim, x)
    attack = FrequencyAttack(step=40.0, block=4, restarts=2, **SEARCH)
    result = attack(victim, x, y)
    family = attack.perturbation
    drawn = [family.random(x, Draw(1, torch.arange(4), restart), bounds) for restart in range(40)]
    with torch.no_grad():
        losses = torch.stack([Margin()(victim(family.apply(x, steps, bounds)), y) for steps in drawn])
    assert bool((result.loss > losses.mean(0)).all())
    assert float((result.loss > losses.amax(0)).float().mean()) >= 0.5


@pytest.mark.parametrize(
    "attack",
    [
        DeformationAttack(1.0),
        FlowAttack(0.5),
        AffineAttack(0.7),
        IntensityAttack(1.2),
        FrequencyAttack(10.0, block=4),
        ChainAttack(0.5),
    ],
    ids=lambda attack: attack.name,
)
def test_results_do_not_depend_on_the_batch(lab, attack):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (7, 1, 8, 9))
    y = lab.answers(victim, x)
    whole = attack(victim, x, y)
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    for rows in (order[:1], order[1:4], order):
        part = attack(victim, x[rows], y[rows], rows)
        assert torch.equal(part.status, whole.status[rows])
        torch.testing.assert_close(part.images, whole.images[rows], rtol=0, atol=1e-5)


def test_the_smooth_attack_folds_nothing(lab):
    from medadv import ops

    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (6, 1, 12, 12))
    attack = DeformationAttack(4.0, spacing=3, jacobian=0.2, **SEARCH)
    result = attack(victim, x, lab.answers(victim, x))
    displacement = ops.spline_field(result.parameters["lattice"], (12, 12))
    assert float(ops.jacobian_determinant(displacement).min()) >= 0.2


def test_the_steps_of_rounding_come_near_the_best_there_are():
    # One block and a linear victim: what a coefficient adds depends on its own step alone, so all can be tried.
    torch.manual_seed(0)
    layer = nn.Linear(64, 2, dtype=torch.float64)
    victim = Victim(nn.Sequential(nn.Flatten(), layer).eval())
    x = 0.3 + 0.4 * torch.rand(8, 1, 8, 8)
    with torch.no_grad():
        y = victim(x).argmax(1)
    attack = FrequencyAttack(step=60.0, **SEARCH)
    result = attack(victim, x, y)

    def loss(steps):
        with torch.no_grad():
            return Margin()(victim(attack.perturbation.apply(x, {"steps": steps}, (0.0, 1.0))), y).double()

    clean, most = loss(torch.zeros(8, 8, 8)), torch.zeros(8, dtype=torch.float64)
    for row in range(8):
        for column in range(8):
            rises = [torch.zeros(8, dtype=torch.float64)]
            for step in torch.linspace(0, 60, 121)[1:].tolist():
                steps = torch.zeros(8, 8, 8)
                steps[:, row, column] = step
                rises.append(loss(steps) - clean)
            most += torch.stack(rises).amax(0)
    share = (result.loss.double() - clean) / most
    assert float(share.min()) > 0.8
