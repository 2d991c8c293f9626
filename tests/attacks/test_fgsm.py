"""Single steps, and iterative FGSM, on linear models whose worst case is known."""

import pytest
import torch

from medadv.attacks import BIM, FGSM, PGD, Search
from medadv.objectives import CrossEntropy, Margin
from medadv.perturbations import Additive

RANGES = [(0.0, 1.0), (-1024.0, 3071.0), (-1.0, 1.0)]
SHAPES = [(1, 6, 6), (3, 5, 4), (4, 4, 4), (1, 3, 4, 5)]


def inner_images(bounds, shape, count=5):
    low, high = bounds
    return low + (high - low) * (0.3 + 0.4 * torch.rand(count, *shape, generator=torch.Generator().manual_seed(7)))


def gain(victim, before, after, targets):
    with torch.no_grad():
        return Margin()(victim(after), targets) - Margin()(victim(before), targets)


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("objective", [CrossEntropy(), Margin()])
def test_one_step_gains_the_dual_norm_of_the_weights(lab, bounds, shape, norm, objective):
    eps, scale = {"linf": 0.02, "l2": 0.1, "l1": 0.2}[norm], bounds[1] - bounds[0]
    victim, weight = lab.linear_victim(shape, bounds=bounds, mean=bounds[0], std=scale)
    x = inner_images(bounds, shape)
    y = lab.answers(victim, x)
    difference = (weight[1] - weight[0]).flatten()
    dual = {"linf": difference.abs().sum(), "l2": difference.norm(), "l1": difference.abs().max()}[norm]
    result = FGSM(eps=eps, norm=norm, objective=objective, stop_early=False)(victim, x, y)
    expected = torch.full((5,), eps * float(dual))
    torch.testing.assert_close(gain(victim, x, result.images, y), expected, rtol=2e-4, atol=1e-5)
    assert float(result.distance.max()) <= eps


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_asks_twice_and_differentiates_once(lab, classes):
    options = {"task": "binary"} if classes == 1 else {}
    victim, _ = lab.linear_victim((1, 6, 6), classes=classes, **options)
    x = inner_images((0.0, 1.0), (1, 6, 6), 20)
    y = lab.answers(victim, x)
    result = FGSM(eps=1e-6)(victim, x, y)
    assert result.robust.any()
    assert set(result.forwards[result.robust].tolist()) == {2}
    assert set(result.backwards[result.robust].tolist()) == {1}


def test_a_step_down_would_be_noticed(lab):
    victim, _ = lab.linear_victim((1, 6, 6))
    x = inner_images((0.0, 1.0), (1, 6, 6), 50)
    y = lab.answers(victim, x)
    up = FGSM(eps=0.01, stop_early=False)(victim, x, y)
    assert bool((gain(victim, x, up.images, y) > 0).all())


def test_iterative_steps_reach_the_corner_from_the_clean_image(lab):
    victim, weight = lab.linear_victim((1, 6, 6))
    x = inner_images((0.0, 1.0), (1, 6, 6))
    y = lab.answers(victim, x)
    sign = (weight[1] - weight[0]).sign().float() * (1 - 2 * y).reshape(-1, 1, 1, 1)
    result = BIM(eps=0.05, stop_early=False)(victim, x, y)
    torch.testing.assert_close(result.images, x + 0.05 * sign, rtol=0, atol=1e-6)
    assert torch.equal(result.images, PGD(0.05, steps=10, random_start=False, stop_early=False)(victim, x, y).images)


@pytest.mark.parametrize("eps", [0.1, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("objective", [CrossEntropy(), Margin()])
def test_sparse_steps_find_the_best_noise_of_the_l1_ball_in_the_box(lab, eps, objective):
    victim, weight = lab.linear_victim((1, 6, 6))
    x = inner_images((0.0, 1.0), (1, 6, 6))
    y = lab.answers(victim, x)
    attack = PGD(eps, "l1", steps=200, step_size=0.05, stop_early=False, random_start=False, objective=objective)
    result = attack(victim, x, y)
    # The best is greedy: the heaviest voxels are moved to their bound until the budget is spent.
    slope = (weight[1] - weight[0]).flatten().float() * (1 - 2 * y).unsqueeze(1)
    room = torch.where(slope > 0, 1 - x.flatten(1), x.flatten(1))
    order = slope.abs().argsort(dim=1, descending=True)
    room, heavy = room.gather(1, order), slope.abs().gather(1, order)
    used = (eps - (room.cumsum(1) - room)).clamp(min=0).minimum(room)
    best = (used * heavy).sum(1)
    found = gain(victim, x, result.images, y)
    assert bool((found <= best * (1 + 1e-5)).all())
    assert bool((found >= 0.98 * best).all())


def test_parts():
    assert FGSM(0.1, "l2").search == Search(1, "l2", random_start=False)
    assert FGSM(0.1).perturbation == Additive(0.1)
    assert BIM().search == Search(10, random_start=False)
    assert repr(FGSM(eps=0.25)) == "FGSM(eps=0.25, norm='linf', steps=1)"
    assert BIM(eps=0.25, restarts=1).name == "bim"
