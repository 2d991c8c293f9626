import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medadv.attacks.randomness import Draw
from medadv.perturbations import Additive
from medadv.perturbations.perturbation import distance_of

BOUNDS = [(0.0, 1.0), (-1024.0, 3071.0), (-1.0, 1.0), (-2.1179, 2.64), (0.0, 65535.0), (-1024.0, 0.1)]
SHAPES = [(3, 1, 8, 8), (2, 3, 5, 7), (2, 4, 3, 4, 5), (1, 1, 1, 1)]


def images_in(bounds, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    low, high = bounds
    images = low + (high - low) * torch.rand(shape, generator=generator)
    images = torch.where(torch.rand(shape, generator=generator) < 0.1, low, images)
    images = torch.where(torch.rand(shape, generator=generator) < 0.1, high, images)
    return images.float().clamp(low, high)


def noise_like(images, size, seed):
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)) * size


def ids(images):
    return torch.arange(len(images))


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(BOUNDS),
    st.sampled_from(SHAPES),
    st.floats(0, 1),
    st.floats(1e-6, 1e3),
    st.integers(0, 10_000),
)
def test_linf_budget_holds_to_the_last_bit(bounds, shape, eps, size, seed):
    x = images_in(bounds, shape, seed)
    family = Additive(eps)
    scale = bounds[1] - bounds[0]
    parameters = family.project(x, {"noise": noise_like(x, size * eps * scale, seed + 1)}, bounds)
    y = family.apply(x, parameters, bounds)
    assert y.dtype == torch.float32
    assert bool((y >= bounds[0]).all())
    assert bool((y <= bounds[1]).all())
    change = (y - x).abs().max()
    assert change.item() <= np.float32(eps * scale)
    assert change.item() <= eps * scale
    exact = max(abs(Fraction(a) - Fraction(b)) for a, b in zip(y.flatten().tolist(), x.flatten().tolist(), strict=True))
    assert exact <= Fraction(eps * scale)
    assert float(family.distance(x, parameters, bounds).max()) <= eps


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(BOUNDS),
    st.sampled_from(SHAPES),
    st.floats(0, 3),
    st.floats(1e-3, 1e3),
    st.integers(0, 10_000),
)
def test_l2_budget_holds_to_the_last_bit(bounds, shape, eps, size, seed):
    x = images_in(bounds, shape, seed)
    family = Additive(eps, "l2")
    scale = bounds[1] - bounds[0]
    parameters = family.project(x, {"noise": noise_like(x, size * eps * scale, seed + 1)}, bounds)
    y = family.apply(x, parameters, bounds)
    assert bool((y >= bounds[0]).all())
    assert bool((y <= bounds[1]).all())
    length = (y.double() - x.double()).flatten(1).norm(dim=1)
    assert float(length.max()) <= eps * scale
    assert float(family.distance(x, parameters, bounds).max()) <= eps


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(BOUNDS),
    st.sampled_from(SHAPES),
    st.floats(0, 20),
    st.floats(1e-3, 1e3),
    st.integers(0, 10_000),
)
def test_l1_budget_holds_to_the_last_bit(bounds, shape, eps, size, seed):
    x = images_in(bounds, shape, seed)
    family = Additive(eps, "l1")
    scale = bounds[1] - bounds[0]
    parameters = family.project(x, {"noise": noise_like(x, size * eps * scale / 10, seed + 1)}, bounds)
    y = family.apply(x, parameters, bounds)
    assert bool((y >= bounds[0]).all())
    assert bool((y <= bounds[1]).all())
    changes = zip(y.flatten(1).tolist(), x.flatten(1).tolist(), strict=True)
    exact = [sum(abs(Fraction(a) - Fraction(b)) for a, b in zip(*pair, strict=True)) for pair in changes]
    assert max(exact) <= Fraction(eps * scale)
    assert float(family.distance(x, parameters, bounds).max()) <= eps


def test_l2_budget_holds_for_a_small_ball_around_large_values():
    # Rounding x + noise to nearest adds up to sqrt(voxels) ulp / sqrt(12): far more than the budget's last bit.
    x = 3000 + 71 * torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    family, bounds = Additive(1e-5, "l2"), (-1024.0, 3071.0)
    parameters = family.project(x, {"noise": noise_like(x, 1.0, 1)}, bounds)
    noise = parameters["noise"]
    naive = ((x + noise).double() - x.double()).norm()
    assert float(naive) > 1e-5 * 4095
    assert float((family.apply(x, parameters, bounds).double() - x.double()).norm()) <= 1e-5 * 4095


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("bounds", BOUNDS)
def test_the_budget_can_be_used_up(norm, bounds):
    low, high = bounds
    x = torch.full((2, 1, 6, 6), (low + high) / 2)
    family = Additive(0.03, norm)
    parameters = family.project(x, {"noise": noise_like(x, 100 * (high - low), 0)}, bounds)
    assert family.distance(x, parameters, bounds).tolist() == pytest.approx([0.03, 0.03], rel=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("bounds", BOUNDS)
def test_projection_changes_nothing_inside(norm, bounds):
    x = images_in(bounds, (3, 1, 8, 8), 0)
    family = Additive(0.05, norm)
    once = family.project(x, {"noise": noise_like(x, bounds[1] - bounds[0], 1)}, bounds)
    twice = family.project(x, once, bounds)
    assert torch.equal(once["noise"], twice["noise"])


def test_l2_projection_keeps_the_direction():
    x = torch.full((1, 1, 4, 4), 0.5)
    noise = noise_like(x, 1.0, 0)
    inside = Additive(0.1, "l2").project(x, {"noise": noise.clamp(-0.5, 0.5)}, (0.0, 1.0))["noise"]
    expected = 0.1 * noise.clamp(-0.5, 0.5) / noise.clamp(-0.5, 0.5).norm()
    torch.testing.assert_close(inside, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("bounds", BOUNDS)
def test_identity_returns_the_image_bit_by_bit(norm, bounds):
    x = images_in(bounds, (2, 3, 5, 7), 3)
    family = Additive(0.1, norm)
    parameters = family.identity(x)
    assert torch.equal(family.apply(x, parameters, bounds), x)
    assert family.distance(x, parameters, bounds).tolist() == [0.0, 0.0]


def test_distance_is_a_fraction_of_the_range():
    x = torch.zeros(2, 1, 2, 2)
    noise = torch.zeros_like(x)
    noise[0, 0, 0, 0], noise[1, 0] = 409.5, -4.095
    assert Additive(1.0).distance(x, {"noise": noise}, (-1024.0, 3071.0)).tolist() == pytest.approx([0.1, 0.001])
    l2 = Additive(1.0, "l2").distance(x, {"noise": noise}, (-1024.0, 3071.0))
    assert l2.tolist() == pytest.approx([0.1, 0.002])


def test_the_reported_distance_stays_below_eps_where_the_quotient_rounds_up():
    bounds = (0.0, 3000.0)
    x = torch.full((1, 1, 1, 1), 1500.0)
    critical = 0
    for steps in range(1, 400):
        change = 1 + steps * 2.0**-12
        eps = math.nextafter(change / 3000, 0)
        critical += eps * 3000 >= change
        family = Additive(eps)
        parameters = family.project(x, {"noise": torch.full_like(x, 9.0)}, bounds)
        assert float(family.distance(x, parameters, bounds)) <= eps
    assert critical > 10


def test_noise_that_was_not_projected_is_clipped_to_the_bounds():
    x = torch.tensor([0.2, 0.9]).reshape(1, 1, 1, 2)
    noise = {"noise": torch.tensor([-0.5, 0.5]).reshape(1, 1, 1, 2)}
    assert Additive(0.1).apply(x, noise, (0.0, 1.0)).flatten().tolist() == [0.0, 1.0]


def test_gradient_passes_unchanged_even_at_the_bounds():
    x = torch.tensor([0.0, 0.3, 1.0, 0.99]).reshape(1, 1, 2, 2)
    family = Additive(0.1)
    noise = family.project(x, {"noise": torch.full_like(x, 1.0)}, (0.0, 1.0))["noise"].requires_grad_()
    weight = torch.tensor([1.0, -2.0, 3.0, 4.0]).reshape(1, 1, 2, 2)
    (gradient,) = torch.autograd.grad((family.apply(x, {"noise": noise}, (0.0, 1.0)) * weight).sum(), noise)
    assert torch.equal(gradient, weight)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_random_linf_noise_fills_the_cube(bounds):
    low, high = bounds
    x = torch.full((4, 1, 40, 40), (low + high) / 2)
    family = Additive(0.1)
    share = family.random(x, Draw(0, ids(x), 0), bounds)["noise"] / (0.1 * (high - low))
    assert float(share.abs().max()) <= 1
    assert float(share.mean()) == pytest.approx(0, abs=0.05)
    assert float(share.abs().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(share.min()) < -0.99
    assert float(share.max()) > 0.99


def test_random_l2_noise_fills_the_ball():
    x = torch.full((4000, 1, 1, 3), 0.5)
    noise = Additive(0.2, "l2").random(x, Draw(0, ids(x), 0), (0.0, 1.0))["noise"].flatten(1)
    # In three dimensions the cube of the relative length is uniform.
    cubes = (noise.double().norm(dim=1) / 0.2) ** 3
    assert float(cubes.max()) <= 1
    assert float(cubes.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(cubes.std()) == pytest.approx(1 / math.sqrt(12), abs=0.02)
    assert float(noise.mean(0).abs().max()) < 0.01


def test_random_l1_noise_fills_the_ball():
    x = torch.full((4000, 1, 1, 3), 0.5)
    noise = Additive(0.2, "l1").random(x, Draw(0, ids(x), 0), (0.0, 1.0))["noise"].flatten(1)
    # In three dimensions the cube of the relative length is uniform, and each entry has a quarter of it on average.
    cubes = (noise.double().abs().sum(dim=1) / 0.2) ** 3
    assert float(cubes.max()) <= 1
    assert float(cubes.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(cubes.std()) == pytest.approx(1 / math.sqrt(12), abs=0.02)
    assert (noise.abs().mean(0) / 0.2).tolist() == pytest.approx([0.25] * 3, abs=0.01)
    assert float(noise.mean(0).abs().max()) < 0.01


def test_l1_gradients_stop_where_a_voxel_is_full():
    x = torch.tensor([0.0, 0.3, 1.0, 1.0, 0.0]).reshape(1, 1, 1, 5)
    weight = torch.tensor([-1.0, 2.0, 3.0, -4.0, 5.0]).reshape(1, 1, 1, 5)
    noise = torch.zeros_like(x, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        (Additive(1.0, "l1").apply(x, {"noise": noise}, (0.0, 1.0)) * weight).sum(), noise
    )
    assert gradient.flatten().tolist() == [0.0, 2.0, 0.0, -4.0, 5.0]


def test_random_noise_keeps_the_image_in_bounds():
    x = torch.zeros(3, 1, 4, 4)
    family = Additive(0.5)
    y = family.apply(x, family.random(x, Draw(0, ids(x), 0), (0.0, 1.0)), (0.0, 1.0))
    assert float(y.min()) == 0.0
    assert float(y.max()) > 0.1


def test_radius_is_in_image_units():
    assert Additive(0.1).radii((-1024.0, 3071.0))["noise"] == pytest.approx(409.5)
    assert Additive(0.0).radii((0.0, 1.0)) == {"noise": 0.0}


def test_no_penalty():
    x = torch.rand(3, 1, 4, 4)
    assert Additive(0.1).penalty(x, {"noise": x}).tolist() == [0.0, 0.0, 0.0]


def test_is_a_value():
    assert Additive(1) == Additive(1.0)
    assert hash(Additive(0.1, "l2")) == hash(Additive(0.1, "l2"))
    assert Additive(0.1) != Additive(0.1, "l2")
    assert repr(Additive(0.25)) == "Additive(eps=0.25, norm='linf')"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"eps": -0.1}, ValueError, "eps must be at least 0"),
        ({"eps": math.nan}, ValueError, "eps must be finite"),
        ({"eps": math.inf}, ValueError, "eps must be finite"),
        ({"eps": True}, TypeError, "eps must be a number"),
        ({"eps": "0.1"}, TypeError, "eps must be a number"),
        ({"eps": None}, TypeError, "eps must be a number"),
        ({"eps": 0.1, "norm": "l3"}, ValueError, "norm must be one of linf, l2, l1, got 'l3'"),
        ({"eps": 0.1, "norm": math.inf}, TypeError, "norm must be one of"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Additive(**arguments)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_distance_of_images_at_hand_is_that_of_their_parameters(norm):
    x = images_in((-1024.0, 3071.0), (5, 2, 6, 7), seed=0)
    family, bounds = Additive(0.1, norm), (-1024.0, 3071.0)
    noise = family.project(x, {"noise": noise_like(x, 300.0, seed=1)}, bounds)
    told = distance_of(family, x, noise, family.apply(x, noise, bounds), bounds)
    assert float(told.min()) > 0
    torch.testing.assert_close(told, family.distance(x, noise, bounds), rtol=0, atol=0)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_distance_has_no_graph(norm):
    x = images_in((0.0, 1.0), (2, 1, 4, 5), seed=0).requires_grad_()
    noise = {"noise": noise_like(x.detach(), 0.1, seed=1).requires_grad_()}
    assert not Additive(0.1, norm).distance(x, noise, (0.0, 1.0)).requires_grad
