import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medadv import ops
from medadv.attacks.randomness import Draw
from medadv.perturbations import Additive, Chain, PolynomialBiasField

BOUNDS = [(0.0, 1.0), (-1024.0, 3071.0), (-1.0, 1.0), (0.0, 65535.0)]
SHAPES = [(3, 1, 9, 12), (2, 3, 8, 7), (2, 2, 5, 6, 7), (1, 1, 1, 5)]
WARPS = [None, "thin_plate", "flow"]
UNIT = (0.0, 1.0)


def images_in(bounds, shape, seed):
    """Images with voxels at both ends, just above the low end, and in between."""
    generator = torch.Generator().manual_seed(seed)
    low, high = bounds
    share = torch.rand(shape, generator=generator)
    images = low + (high - low) * share**8
    images = torch.where(share < 0.1, low, images)
    images = torch.where(share > 0.9, high, images)
    return images.float().clamp(low, high)


def far_away(family, images, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(values.shape, generator=generator) * size for name, values in family.identity(images).items()
    }


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
    st.sampled_from([1.00001, 1.01, 1.3, 2.0, 1000.0]),
    st.sampled_from([0.1, 1.0, 100.0]),
    st.sampled_from(WARPS),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_gain_holds_to_the_last_bit_at_every_voxel(bounds, shape, gain, size, warp, per_channel, seed):
    x = images_in(bounds, shape, seed)
    family = PolynomialBiasField(gain, degree=5, warp=warp, grid=3, per_channel=per_channel)
    parameters = family.project(x, far_away(family, x, size * math.log(gain), seed + 1), bounds)
    y = family.apply(x, parameters, bounds)
    assert y.dtype == torch.float32
    assert bool((y >= bounds[0]).all())
    assert bool((y <= bounds[1]).all())
    assert_gain_within(x, y, bounds[0], gain)
    assert float(family.distance(x, parameters, bounds).max()) <= gain


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("warp", WARPS)
@pytest.mark.parametrize("gain", [1.3, None])
def test_identity_returns_the_image_bit_for_bit(bounds, shape, warp, gain):
    x = images_in(bounds, shape, 0)
    x[..., 1] = max(bounds[0], 1e-3)  # near 0, where x - low and back would round
    family = PolynomialBiasField(gain, warp=warp)
    assert torch.equal(family.apply(x, family.identity(x), bounds), x)
    assert family.distance(x, family.identity(x), bounds).tolist() == [1.0] * len(x)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degree", [0, 4])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_term_of_degree_zero_is_a_plain_gain(bounds, shape, degree, sign):
    low, high = bounds
    x = images_in(bounds, shape, 0)
    family = PolynomialBiasField(1.5, degree=degree)
    parameters = family.identity(x)
    parameters["coefficients"][..., 0] = sign * math.log(1.25)
    expected = (low + (x.double() - low) * 1.25**sign).clamp(max=high).float()
    torch.testing.assert_close(family.apply(x, parameters, bounds), expected, rtol=1e-6, atol=(high - low) * 1e-6)
    assert family.distance(x, parameters, bounds).tolist() == pytest.approx([1.25] * len(x), rel=1e-6)


@pytest.mark.parametrize("warp", WARPS)
@pytest.mark.parametrize("basis", ["legendre", "monomial"])
def test_is_the_exponential_of_the_polynomial_cut_off_at_the_gain(warp, basis):
    x = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0)) * 0.5
    family = PolynomialBiasField(1.4, 6, basis, warp, (3, 4), per_channel=True)
    parameters = family.project(x, far_away(family, x, 0.3, 1), UNIT)
    free = ops.polynomial_bias_field(
        torch.ones_like(x),
        parameters["coefficients"],
        parameters.get("control"),
        degree=6,
        basis=basis,
        warp=warp,
    )
    assert float(free.max()) > 1.5
    assert float(free.min()) < 1 / 1.5
    torch.testing.assert_close(family.apply(x, parameters, UNIT), (x * free.clamp(1 / 1.4, 1.4)).clamp(0, 1))
    torch.testing.assert_close(family.log_gain(x, parameters).exp(), free.clamp(1 / 1.4, 1.4))
    unlimited = PolynomialBiasField(None, 6, basis, warp, (3, 4), per_channel=True)
    torch.testing.assert_close(unlimited.apply(x, parameters, UNIT), (x * free).clamp(0, 1))
    assert unlimited.share(x, parameters, UNIT).tolist() == [0.0, 0.0]


def test_a_field_without_a_limit_never_overflows():
    x = images_in(UNIT, (2, 1, 16, 16), 0)
    family = PolynomialBiasField(None, sparsity=0.01)
    parameters = family.project(x, far_away(family, x, 1e6, 1), UNIT)
    leaves = {name: values.requires_grad_() for name, values in parameters.items()}
    value = family.apply(x, leaves, UNIT).sum() - family.penalty(x, leaves).sum()
    assert all(bool(gradient.isfinite().all()) for gradient in torch.autograd.grad(value, list(leaves.values())))
    assert bool(family.distance(x, parameters, UNIT).isfinite().all())


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("grid", [2, 5])
def test_control_points_keep_to_their_cells_and_the_image(axes, grid):
    x = torch.rand(3, 1, *[8, 9, 7][:axes])
    family = PolynomialBiasField(1.3, 3, warp="flow", grid=grid)
    control = family.project(x, far_away(family, x, 9.0, 0), UNIT)["control"]
    places = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, grid)] * axes, indexing="ij"))
    assert float(control.abs().max()) == pytest.approx(1 / (grid - 1))
    assert float((places + control).abs().max()) <= 1
    for axis in range(axes):  # nothing folds
        assert float((places + control)[:, axis].diff(dim=axis + 1).min()) >= -1e-6


def test_penalty_is_the_mean_square_of_the_field_and_the_roughness_of_the_motion():
    x = torch.rand(2, 1, 12, 10)
    family = PolynomialBiasField(2.0, 3, grid=(3, 4), sparsity=0.5, smoothness=2.0)
    parameters = family.project(x, far_away(family, x, 0.05, 0), UNIT)
    control = parameters["control"]
    rough = sum((control.diff(dim=axis) ** 2).flatten(1).sum(1) for axis in (2, 3)) / 12
    square = (family.log_gain(x, parameters) ** 2).flatten(1).mean(1)
    assert float(rough.min()) > 0
    torch.testing.assert_close(family.penalty(x, parameters), 0.5 * square + 2.0 * rough)
    still = {**parameters, "control": torch.full_like(control, 0.1)}
    assert PolynomialBiasField(2.0, 3, grid=(3, 4), smoothness=2.0).penalty(x, still).tolist() == [0.0, 0.0]


def test_steps_of_a_tenth_are_those_of_the_sibling_code():
    assert PolynomialBiasField(None).radii(UNIT) == {"coefficients": 1.0, "control": 0.1}
    limited = PolynomialBiasField(1.3).radii(UNIT)
    assert limited["coefficients"] == pytest.approx(math.log(1.3), rel=1e-5)
    assert limited["control"] == 0.1
    assert set(PolynomialBiasField(1.3, warp=None).radii(UNIT)) == {"coefficients"}


def test_a_chain_keeps_its_part_of_the_gain():
    x = torch.full((2, 1, 8, 8), 0.4)
    chain = Chain((PolynomialBiasField(1.44, 2), Additive(0.1)), 0.5)
    far = {name: torch.full_like(values, 9.0) for name, values in chain.identity(x).items()}
    y = chain.apply(x, chain.project(x, far, UNIT), UNIT)
    assert 0.52 < float(y.max()) <= 0.4 * 1.2 + 0.05


def test_random_fields_differ_and_vary():
    x = torch.full((50, 1, 16, 16), 0.5)
    family = PolynomialBiasField(1.3)
    drawn = family.random(x, Draw(0, torch.arange(50), 0), UNIT)
    field = family.log_gain(x, drawn)
    assert float(field.flatten(1).std(1).min()) > 0.1 * math.log(1.3)
    assert float(field.mean()) == pytest.approx(0, abs=0.01)


def test_is_a_value():
    assert PolynomialBiasField(2) == PolynomialBiasField(2.0, grid=8)
    assert hash(PolynomialBiasField(1.3, grid=[4, 5])) == hash(PolynomialBiasField(1.3, grid=(4, 5)))
    assert PolynomialBiasField(1.44).scaled(0.5).gain == pytest.approx(1.2)
    assert PolynomialBiasField(None).scaled(0.5) == PolynomialBiasField(None)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"gain": 1.0}, ValueError, "gain must be above 1"),
        ({"gain": 1 + 1e-7}, ValueError, "gain must be above 1 by more than the rounding"),
        ({"gain": True}, TypeError, "gain must be a number"),
        ({"gain": 1.3, "degree": 13}, ValueError, "degree must be below 13"),
        ({"gain": 1.3, "basis": "fourier"}, ValueError, "basis must be one of legendre, monomial"),
        ({"gain": 1.3, "warp": "affine"}, ValueError, "warp must be one of thin_plate, flow"),
        ({"gain": 1.3, "grid": 1}, ValueError, "grid must be at least 2"),
        ({"gain": 1.3, "grid": (4,)}, ValueError, "grid must be one number or one per axis"),
        ({"gain": 1.3, "grid": "8"}, TypeError, "grid must be a whole number"),
        ({"gain": 1.3, "per_channel": 1}, TypeError, "per_channel must be True or False"),
        ({"gain": 1.3, "sparsity": -1}, ValueError, "sparsity must be at least 0"),
        ({"gain": 1.3, "smoothness": -1}, ValueError, "smoothness must be at least 0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        PolynomialBiasField(**arguments)


def test_a_grid_of_other_axes_than_the_image():
    with pytest.raises(ValueError, match="grid must be one number or one per axis of the image \\(2\\)"):
        PolynomialBiasField(1.3, grid=(3, 3, 3)).identity(torch.rand(1, 1, 8, 8))
