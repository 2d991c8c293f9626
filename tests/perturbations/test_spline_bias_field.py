import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medadv import ops
from medadv.attacks.randomness import Draw
from medadv.perturbations import SplineBiasField

BOUNDS = [(0.0, 1.0), (-1024.0, 3071.0), (-1.0, 1.0), (0.0, 65535.0)]
SHAPES = [(3, 1, 9, 12), (2, 3, 8, 7), (2, 2, 5, 6, 7), (1, 1, 1, 5)]
UNIT = (0.0, 1.0)


def images_in(bounds, shape, seed):
    """Images with voxels at both ends, just above the low end, and in between."""
    generator = torch.Generator().manual_seed(seed)
    low, high = bounds
    share = torch.rand(shape, generator=generator) ** 8
    images = low + (high - low) * share
    images = torch.where(torch.rand(shape, generator=generator) < 0.1, low, images)
    images = torch.where(torch.rand(shape, generator=generator) < 0.1, high, images)
    return images.float().clamp(low, high)


def lattice_like(family, images, size, seed):
    lattice = family.identity(images)["lattice"]
    return torch.randn(lattice.shape, generator=torch.Generator().manual_seed(seed)) * size


def assert_gain_within(x, y, low, gain):
    """Exactly, in rational numbers: u / gain <= v <= gain u where u / gain is a normal float32."""
    ends, largest = Fraction(low), Fraction(gain)
    for before, after in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True):
        u, v = Fraction(before) - ends, Fraction(after) - ends
        if u == 0:
            assert v == 0
        elif u / largest >= Fraction(torch.finfo(torch.float32).tiny):
            assert v <= u * largest
            assert v * largest >= u


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(BOUNDS),
    st.sampled_from(SHAPES),
    st.sampled_from([1.00001, 1.01, 1.1, 1.3, 2.0, 10.0, 1000.0]),
    st.sampled_from([0.1, 1.0, 100.0]),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_gain_holds_to_the_last_bit_at_every_voxel(bounds, shape, gain, size, per_channel, seed):
    x = images_in(bounds, shape, seed)
    family = SplineBiasField(gain, per_channel=per_channel)
    parameters = family.project(x, {"lattice": lattice_like(family, x, size * math.log(gain), seed + 1)}, bounds)
    y = family.apply(x, parameters, bounds)
    assert y.dtype == torch.float32
    assert bool((y >= bounds[0]).all())
    assert bool((y <= bounds[1]).all())
    assert_gain_within(x, y, bounds[0], gain)
    assert float(family.distance(x, parameters, bounds).max()) <= gain


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_gain_holds_where_the_whole_lattice_is_at_its_limit(bounds, sign):
    x = images_in(bounds, (4, 1, 16, 16), 0)
    family = SplineBiasField(1.3, spacing=3)
    parameters = family.project(x, {"lattice": torch.full_like(family.identity(x)["lattice"], 9 * sign)}, bounds)
    assert_gain_within(x, family.apply(x, parameters, bounds), bounds[0], 1.3)


def test_tiny_voxels_keep_the_gain():
    x = torch.logspace(-37, 0, 64).reshape(1, 1, 8, 8)
    family = SplineBiasField(1.3)
    parameters = family.project(x, {"lattice": lattice_like(family, x, 9.0, 0)}, UNIT)
    assert_gain_within(x, family.apply(x, parameters, UNIT), 0.0, 1.3)


def test_adding_the_low_end_back_by_rounding_to_nearest_would_break_the_gain():
    low = -1024.0
    x = low + torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.01
    family = SplineBiasField(1.3)
    parameters = family.project(x, {"lattice": torch.full_like(family.identity(x)["lattice"], 9.0)}, (low, 3071.0))
    naive = low + ops.bias_field(x - low, parameters["lattice"])
    with pytest.raises(AssertionError):
        assert_gain_within(x, naive, low, 1.3)
    assert_gain_within(x, family.apply(x, parameters, (low, 3071.0)), low, 1.3)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_a_constant_lattice_multiplies_the_distance_from_the_low_end(bounds):
    low, high = bounds
    x = low + (high - low) * torch.linspace(0, 1, 36).reshape(1, 1, 6, 6)
    family = SplineBiasField(1.5)
    lattice = torch.full_like(family.identity(x)["lattice"], math.log(1.25))
    expected = (low + (x - low) * 1.25).clamp(max=high)
    tolerance = (high - low) * 1e-6
    torch.testing.assert_close(family.apply(x, {"lattice": lattice}, bounds), expected, rtol=1e-6, atol=tolerance)


@pytest.mark.parametrize("gain", [1.01, 1.3, 4.0])
def test_the_budget_can_be_used_up(gain):
    x = torch.full((2, 1, 10, 10), 1e-3)
    family = SplineBiasField(gain)
    most = family.project(x, {"lattice": torch.full_like(family.identity(x)["lattice"], 9.0)}, UNIT)
    assert float(family.apply(x, most, UNIT).max() / 1e-3) == pytest.approx(gain, rel=2e-5)
    assert family.distance(x, most, UNIT).tolist() == pytest.approx([gain, gain], rel=2e-5)
    least = {"lattice": -most["lattice"]}
    assert float(family.apply(x, least, UNIT).min() / 1e-3) == pytest.approx(1 / gain, rel=2e-5)
    assert family.distance(x, least, UNIT).tolist() == pytest.approx([gain, gain], rel=2e-5)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_identity_returns_the_image(bounds, shape):
    x = images_in(bounds, shape, 0)
    family = SplineBiasField(1.3)
    y = family.apply(x, family.identity(x), bounds)
    if bounds[0] == 0:
        assert torch.equal(y, x)
    else:
        # x - low and back may round, towards x.
        torch.testing.assert_close(y, x, rtol=0, atol=(bounds[1] - bounds[0]) * 2**-23)
    assert family.distance(x, family.identity(x), bounds).tolist() == [1.0] * len(x)


def test_is_the_exponential_of_the_spline_field():
    x = torch.rand(2, 3, 7, 9) * 0.5
    family = SplineBiasField(1.4, spacing=(2, 3), per_channel=True)
    parameters = family.project(x, {"lattice": lattice_like(family, x, 0.2, 0)}, UNIT)
    field = ops.spline_field(parameters["lattice"], (7, 9))
    assert field.shape == x.shape
    torch.testing.assert_close(family.apply(x, parameters, UNIT), (x * field.exp()).clamp(0, 1))
    expected = field.abs().flatten(1).amax(1).exp().double()
    torch.testing.assert_close(family.distance(x, parameters, UNIT), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1024.0, 3071.0)])
def test_gradient_is_right(bounds):
    low, high = bounds
    generator = torch.Generator().manual_seed(0)
    x = low + (high - low) * (0.1 + 0.5 * torch.rand(2, 2, 5, 6, generator=generator, dtype=torch.float64))
    family = SplineBiasField(1.3)
    lattice = 0.1 * torch.randn(2, 1, *ops.lattice_shape((5, 6), 1.5), generator=generator, dtype=torch.float64)
    torch.autograd.gradcheck(
        lambda c: family.apply(x, {"lattice": c}, bounds) / (high - low), lattice.requires_grad_(), fast_mode=True
    )


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1024.0, 3071.0)])
def test_clipped_voxels_give_no_gradient(bounds):
    x = torch.full((1, 1, 6, 6), bounds[1])
    family = SplineBiasField(1.3)
    lattice = torch.full_like(family.identity(x)["lattice"], 0.1).requires_grad_()
    y = family.apply(x, {"lattice": lattice}, bounds)
    assert torch.equal(y.detach(), x)
    (gradient,) = torch.autograd.grad(y.sum(), lattice)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_shape_of_the_lattice():
    x = torch.rand(2, 3, 32, 16)
    assert SplineBiasField(1.3).identity(x)["lattice"].shape == (2, 1, *ops.lattice_shape((32, 16), 8.0))
    assert SplineBiasField(1.3, spacing=4).identity(x)["lattice"].shape == (2, 1, *ops.lattice_shape((32, 16), 4))
    own = SplineBiasField(1.3, spacing=(4, 8), per_channel=True).identity(x)["lattice"]
    assert own.shape == (2, 3, *ops.lattice_shape((32, 16), (4, 8)))
    volume = torch.rand(1, 1, 8, 16, 12)
    assert SplineBiasField(1.3).identity(volume)["lattice"].shape == (1, 1, *ops.lattice_shape((8, 16, 12), 4.0))


@pytest.mark.parametrize("bounds", BOUNDS)
def test_random_lattices_fill_the_budget(bounds):
    x = torch.full((200, 1, 8, 8), bounds[1])
    family = SplineBiasField(1.3)
    share = family.random(x, Draw(0, torch.arange(200), 0), bounds)["lattice"] / math.log(1.3)
    assert float(share.abs().max()) <= 1
    assert float(share.mean()) == pytest.approx(0, abs=0.05)
    assert float(share.abs().mean()) == pytest.approx(0.5, abs=0.03)


def test_penalty_is_the_mean_bending_energy():
    x = torch.rand(3, 1, 12, 10)
    family = SplineBiasField(1.3, smoothness=2.5)
    lattice = lattice_like(family, x, 0.1, 0)
    expected = 2.5 * ops.bending_energy(lattice, (12, 10)) / 120
    assert float(expected.min()) > 0
    torch.testing.assert_close(family.penalty(x, {"lattice": lattice}), expected)
    torch.testing.assert_close(family.penalty(x, {"lattice": 2 * lattice}), 4 * expected)
    assert SplineBiasField(1.3).penalty(x, {"lattice": lattice}).tolist() == [0.0, 0.0, 0.0]


def test_a_constant_field_costs_nothing():
    x = torch.rand(1, 1, 12, 10)
    family = SplineBiasField(1.3, smoothness=1.0)
    lattice = torch.full_like(family.identity(x)["lattice"], 0.2)
    assert family.penalty(x, {"lattice": lattice}).item() == pytest.approx(0, abs=1e-9)


def test_radius_is_the_log_gain_less_the_margin():
    radius = SplineBiasField(1.3).radii(UNIT)["lattice"]
    assert math.log(1.3) - 3e-6 < radius < math.log(1.3)


def test_is_a_value():
    assert SplineBiasField(2) == SplineBiasField(2.0)
    assert SplineBiasField(1.3, spacing=[8, 8]) == SplineBiasField(1.3, spacing=(8.0, 8.0))
    assert hash(SplineBiasField(1.3, spacing=[8, 8])) == hash(SplineBiasField(1.3, spacing=(8.0, 8.0)))
    assert repr(SplineBiasField(1.5, spacing=8)) == (
        "SplineBiasField(gain=1.5, spacing=8.0, per_channel=False, smoothness=0.0)"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"gain": 1.0}, ValueError, "gain must be above 1"),
        ({"gain": 0.7}, ValueError, "gain must be above 1"),
        ({"gain": 1 + 1e-7}, ValueError, "gain must be above 1 by more than the rounding"),
        ({"gain": math.nan}, ValueError, "gain must be finite"),
        ({"gain": True}, TypeError, "gain must be a number"),
        ({"gain": "1.3"}, TypeError, "gain must be a number"),
        ({"gain": 1.3, "spacing": 0}, ValueError, "spacing must be above 0"),
        ({"gain": 1.3, "spacing": (4,)}, ValueError, "spacing must be one number or one per axis"),
        ({"gain": 1.3, "spacing": "8"}, TypeError, "spacing must be a number"),
        ({"gain": 1.3, "per_channel": 1}, TypeError, "per_channel must be True or False"),
        ({"gain": 1.3, "smoothness": -1}, ValueError, "smoothness must be at least 0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        SplineBiasField(**arguments)
