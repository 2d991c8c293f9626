"""Intensity curves, frequency quantisation and chains: where the answer is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft

from medadv.perturbations import Additive, Chain, FrequencyQuantisation, IntensityCurve, SplineBiasField

UNIT = (0.0, 1.0)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1024.0, 3071.0)])
def test_the_curve_is_window_then_gamma(bounds):
    low, high = bounds
    x = torch.linspace(low, high, 64).reshape(1, 1, 8, 8)
    parameters = {"log_gamma": torch.tensor([[math.log(1.5)]]), "ends": torch.tensor([[0.1, -0.2]])}
    u = (x.double().numpy() - low) / (high - low)
    expected = low + (high - low) * np.clip((u - 0.1) / (0.8 - 0.1), 0, 1) ** 1.5
    actual = IntensityCurve(2.0, 0.3).apply(x, parameters, bounds).double().numpy()
    np.testing.assert_allclose(actual, expected, atol=2e-6 * (high - low))


@settings(deadline=None, max_examples=30)
@given(st.floats(-0.4, 0.4), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
def test_the_curve_keeps_the_order_of_intensities(log_gamma, first, last):
    x = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    parameters = {"log_gamma": torch.tensor([[log_gamma]]), "ends": torch.tensor([[first, last]])}
    y = IntensityCurve(1.5, 0.1).apply(x, parameters, UNIT).flatten()
    assert bool((y.diff() >= -1e-6).all())


def test_black_has_a_finite_gradient():
    parameters = {
        "log_gamma": torch.tensor([[-0.5]], requires_grad=True),
        "ends": torch.zeros(1, 2, requires_grad=True),
    }
    IntensityCurve(2.0, 0.1).apply(torch.zeros(1, 1, 4, 4), parameters, UNIT).sum().backward()
    assert all(bool(torch.isfinite(values.grad).all()) for values in parameters.values())


@pytest.mark.parametrize("size", [(8, 8), (10, 7), (5, 6, 7)])
def test_quantisation_is_that_of_scipys_cosine_transform(size):
    block = 4
    x = torch.rand(2, 2, *size, dtype=torch.float64).float()
    steps = 20 * torch.rand(2, *[block] * len(size))
    whole = np.pad(x.double().numpy() * 255, [(0, 0), (0, 0), *((0, -n % block) for n in size)], mode="edge")
    expected = whole.copy()
    for n in range(2):
        for corner in np.ndindex(*(m // block for m in whole.shape[2:])):
            part = (n, slice(None), *(slice(block * i, block * i + block) for i in corner))
            axes = tuple(range(1, 1 + len(size)))
            coefficients = fft.dctn(whole[part], axes=axes, norm="ortho")
            scaled = coefficients / steps[n].double().numpy()
            rounded = np.round(scaled) + (scaled - np.round(scaled)) ** 3
            expected[part] = fft.idctn(rounded * steps[n].double().numpy(), axes=axes, norm="ortho")
    expected = np.clip(expected[(..., *(slice(n) for n in size))] / 255, 0, 1)
    actual = FrequencyQuantisation(20.0, block).apply(x, {"steps": steps}, UNIT).double().numpy()
    np.testing.assert_allclose(actual, expected, atol=5e-6)


@pytest.mark.parametrize(("shape", "bounds"), [((2, 8, 8), UNIT), ((1, 4, 8, 4), (-1024.0, 3071.0))])
def test_the_gradient_to_the_steps_is_the_slope_of_the_best_chord(shape, bounds):
    low, high = bounds
    x = low + (high - low) * (0.4 + 0.2 * torch.rand(1, *shape))  # so that nothing is clipped
    weights = torch.randn(1, *shape, dtype=torch.float64) / (high - low)
    family = FrequencyQuantisation(20.0, 4)
    steps = 20 * torch.rand(1, *[4] * (len(shape) - 1))
    steps.flatten()[:3] = torch.tensor([0.0, 20.0, 0.5])

    def value(at):
        return float((weights * family.apply(x, {"steps": at}, bounds)).sum())

    leaf = steps.clone().requires_grad_()
    changed = family.apply(x, {"steps": leaf}, bounds)
    assert torch.equal(changed.detach(), family.apply(x, {"steps": steps}, bounds))
    (gradient,) = torch.autograd.grad((weights * changed).sum(), leaf)
    risen = 0
    for entry in range(steps.numel()):
        here, rises = float(steps.flatten()[entry]), {}
        for there in torch.linspace(0, 20, 17).tolist():
            other = steps.clone()
            other.flatten()[entry] = there
            if abs(there - here) > 20 / 16 / 4:
                rises[there] = value(other) - value(steps)
        slope, most = float(gradient.flatten()[entry]), max(rises.values())
        if most < 1e-5:
            assert abs(slope) < 1e-4
            continue
        # Rises that are equal but for rounding are equally good.
        best = [rise / (there - here) for there, rise in rises.items() if rise > most - 1e-5]
        assert min(abs(slope - each) for each in best) < 1e-5 + 1e-2 * abs(slope)
        risen += 1
    assert risen > steps.numel() / 2
    assert float(gradient.flatten()[0]) > 0  # from step 0 all chords lead up


def test_no_chord_where_every_step_lowers_the_loss():
    x = 0.4 + 0.2 * torch.rand(1, 1, 4, 4)
    steps = torch.zeros(1, 4, 4, requires_grad=True)
    changed = FrequencyQuantisation(20.0, 4).apply(x, {"steps": steps}, UNIT)
    (-(changed - x).square().sum()).backward()
    assert torch.equal(steps.grad, torch.zeros(1, 4, 4))


def test_a_chain_is_its_parts_in_turn():
    x = 0.2 + 0.5 * torch.rand(2, 1, 8, 8)
    bias, noise = SplineBiasField(1.3), Additive(0.05)
    chain = Chain((bias, noise))
    lattice = torch.full_like(bias.identity(x)["lattice"], math.log(1.2))
    added = torch.full_like(x, 0.03)
    y = chain.apply(x, {"0.lattice": lattice, "1.noise": added}, UNIT)
    torch.testing.assert_close(y, 1.2 * x + 0.03)
    assert not torch.allclose(Chain((noise, bias)).apply(x, {"0.noise": added, "1.lattice": lattice}, UNIT), y)


def test_gradients_pass_through_the_later_parts():
    x = 0.2 + 0.5 * torch.rand(2, 1, 8, 8)
    chain = Chain((SplineBiasField(1.3), Additive(0.05), SplineBiasField(1.3)))
    parameters = {name: values.requires_grad_() for name, values in chain.identity(x).items()}
    chain.apply(x, parameters, UNIT).sum().backward()
    torch.testing.assert_close(parameters["0.lattice"].grad, parameters["2.lattice"].grad)
    assert float(parameters["0.lattice"].grad.abs().max()) > 0


def test_the_strength_of_a_chain_scales_every_budget():
    half = Chain((SplineBiasField(1.44), Additive(0.1)), strength=0.5)
    assert half.radii(UNIT)["1.noise"] == pytest.approx(0.05)
    assert half.radii(UNIT)["0.lattice"] == pytest.approx(math.log(1.2), rel=1e-4)
    x = torch.full((1, 1, 8, 8), 0.4)
    most = half.project(x, {name: torch.full_like(v, 9.0) for name, v in half.identity(x).items()}, UNIT)
    assert float(half.apply(x, most, UNIT).max()) == pytest.approx(0.4 * 1.2 + 0.05, rel=1e-4)
    assert float(half.distance(x, most, UNIT)) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: IntensityCurve(0.9), "gamma must be at least 1"),
        (lambda: IntensityCurve(1.2, window=0.5), "window must be below 0.5"),
        (lambda: FrequencyQuantisation(-1), "step must be at least 0"),
        (lambda: FrequencyQuantisation(1, block=1), "block must be at least 2"),
        (lambda: Chain(()), "parts must be at least one perturbation"),
        (lambda: Chain((Additive,)), "parts must be a tuple of perturbations"),
        (lambda: Chain((3,)), "parts must be a tuple of perturbations"),
        (lambda: Chain((Additive(0.1),), 0.0), "strength must be above 0"),
        (lambda: Chain((Additive(0.1),), 1.1), "strength must be at most 1"),
    ],
)
def test_wrong_arguments(make, error):
    with pytest.raises((TypeError, ValueError), match=error):
        make()
