"""Deformations and affine motions: where the answer is known."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from medadv import ops
from medadv.attacks.randomness import Draw
from medadv.perturbations import Affine, Flow, SplineDeformation

UNIT = (0.0, 1.0)


def smooth_image(*size, seed=0):
    noise = np.random.default_rng(seed).random(size)
    image = ndimage.gaussian_filter(noise, 2.0)
    return torch.from_numpy((image - image.min()) / np.ptp(image)).float()[None, None]


@pytest.mark.parametrize("size", [(12, 16), (6, 8, 10)])
def test_a_constant_lattice_and_a_constant_flow_are_the_same_shift(size):
    x = smooth_image(*size)
    shift = torch.tensor([1.0, -2.0, 1.0][-len(size) :])
    spline = SplineDeformation(9.0)
    lattice = spline.identity(x)["lattice"] + shift.reshape(1, -1, *[1] * len(size))
    flow = torch.zeros(1, len(size), *size) + shift.reshape(1, -1, *[1] * len(size))
    index = [np.clip(np.arange(n) + int(s), 0, n - 1) for n, s in zip(size, shift, strict=True)]
    expected = x[0, 0][np.ix_(*index)]
    torch.testing.assert_close(spline.apply(x, {"lattice": lattice}, UNIT)[0, 0], expected, rtol=0, atol=1e-6)
    assert torch.equal(Flow(9.0).apply(x, {"flow": flow}, UNIT)[0, 0], expected)
    assert float(spline.distance(x, {"lattice": lattice}, UNIT)) == pytest.approx(float(shift.norm()), rel=1e-6)


@pytest.mark.parametrize("size", [(14, 15), (8, 9, 10)])
@pytest.mark.parametrize("limit", [0.05, 0.3, 0.9])
def test_no_determinant_falls_below_the_limit(size, limit):
    x = torch.rand(3, 1, *size)
    family = SplineDeformation(8.0, spacing=3, jacobian=limit)
    wild = {"lattice": torch.randn(3, *family.identity(x)["lattice"].shape[1:]) * 5}
    free = SplineDeformation(8.0, spacing=3).project(x, wild, UNIT)["lattice"]
    kept = family.project(x, wild, UNIT)["lattice"]

    def smallest(lattice):
        return ops.jacobian_determinant(ops.spline_field(lattice, size)).flatten(1).amin(1)

    assert bool((smallest(free) < limit).all())
    assert bool((smallest(kept) >= limit).all())
    # The same motion, scaled, and no further than it needs to be.
    factor = (kept.flatten(1) / free.flatten(1)).median(1).values
    torch.testing.assert_close(kept, free * factor.reshape(-1, *[1] * (kept.ndim - 1)), rtol=1e-4, atol=1e-6)
    assert bool((smallest(free * (factor + 2**-10).reshape(-1, *[1] * (kept.ndim - 1))) < limit).all())


def test_what_keeps_the_limit_is_left_as_it_is():
    family = SplineDeformation(0.5, spacing=8, jacobian=0.1)
    x = torch.rand(2, 1, 16, 16)
    lattice = 0.1 * torch.randn(family.identity(x)["lattice"].shape)
    assert torch.equal(family.project(x, {"lattice": lattice}, UNIT)["lattice"], lattice)


def test_the_flow_loss_is_the_mean_over_pairs_of_neighbours():
    flow = torch.randn(2, 2, 4, 5)
    f = flow.double().numpy()
    expected = [
        sum(
            np.hypot(*(f[n, :, i, j] - f[n, :, k, m]))
            for i in range(4)
            for j in range(5)
            for k, m in ((i + 1, j), (i, j + 1))
            if k < 4 and m < 5
        )
        / 20
        for n in range(2)
    ]
    penalty = Flow(1.0, smoothness=0.7).penalty(torch.zeros(2, 1, 4, 5), {"flow": flow})
    assert penalty.tolist() == pytest.approx([0.7 * value for value in expected], rel=1e-5)


def test_a_flow_at_rest_has_a_finite_gradient():
    flow = torch.zeros(1, 2, 4, 4, requires_grad=True)
    Flow(1.0, smoothness=1.0).penalty(torch.zeros(1, 1, 4, 4), {"flow": flow}).sum().backward()
    assert bool(torch.isfinite(flow.grad).all())


def test_the_bending_energy_is_subtracted_per_voxel():
    family = SplineDeformation(1.0, spacing=4, smoothness=0.3)
    x = torch.zeros(2, 1, 9, 10)
    lattice = torch.randn(family.identity(x)["lattice"].shape)
    expected = ops.bending_energy(lattice, (9, 10)) * 0.3 / 90
    torch.testing.assert_close(family.penalty(x, {"lattice": lattice}), expected)


def moved_by_scipy(image, matrix, shift):
    middle = (np.array(image.shape) - 1) / 2
    offset = middle - matrix @ middle + shift
    return ndimage.affine_transform(image.double().numpy(), matrix, offset, order=1, mode="nearest")


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_a_third_of_random_affine_motions_is_as_large_as_can_be_and_the_rest_is_uniform(strength):
    ids = torch.arange(2000)
    drawn = Affine(strength).random(torch.zeros(2000, 1, 4, 4), Draw(0, ids, 0), (0.0, 1.0))
    fractions = torch.cat(list(drawn.values()), 1).double() / strength
    assert fractions.shape == (2000, 5)
    ends = fractions.abs() > 1 - 1e-6
    inside = fractions[~ends]
    assert float(fractions.abs().max()) <= 1
    assert abs(float(ends.double().mean()) - 1 / 3) < 0.02
    assert abs(float((fractions[ends] > 0).double().mean()) - 0.5) < 0.04
    for quantile in (0.1, 0.5, 0.9):
        assert abs(float(inside.quantile(quantile)) - (2 * quantile - 1)) < 0.05


def test_affine_2d_is_scipys():
    x = smooth_image(17, 21)
    family = Affine(rotation=30.0, scaling=1.2, shift=0.1)
    parameters = {
        "turn": torch.tensor([[0.5]]),
        "stretch": torch.tensor([[1.0, -0.5]]),
        "shift": torch.tensor([[0.2, -1.0]]),
    }
    angle = math.radians(15)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.diag([1.2, 1.2**-0.5])
    expected = moved_by_scipy(x[0, 0], matrix, np.array([0.02 * 17, -0.1 * 21]))
    actual = family.apply(x, parameters, UNIT)[0, 0].double().numpy()
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_affine_3d_turns_in_each_plane(plane):
    x = smooth_image(9, 10, 11)
    first, second = ((0, 1), (0, 2), (1, 2))[plane]
    turn = torch.zeros(1, 3)
    turn[0, plane] = 1.0
    parameters = {"turn": turn, "stretch": torch.zeros(1, 3), "shift": torch.zeros(1, 3)}
    angle = math.radians(20)
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[second, first], matrix[first, second] = math.sin(angle), -math.sin(angle)
    expected = moved_by_scipy(x[0, 0], matrix, np.zeros(3))
    actual = Affine(rotation=20.0).apply(x, parameters, UNIT)[0, 0].double().numpy()
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: SplineDeformation(-1.0), "displacement must be at least 0"),
        (lambda: SplineDeformation(1.0, jacobian=1.0), "jacobian must be below 1"),
        (lambda: SplineDeformation(1.0, padding="zeros"), "padding must be one of border, reflection"),
        (lambda: SplineDeformation(1.0, interpolation="nearest"), "interpolation must be one of linear, cubic"),
        (lambda: SplineDeformation(1.0, spacing=0), "spacing must be above 0"),
        (lambda: Flow(True), "displacement must be a number"),
        (lambda: Flow(1.0, smoothness=-1), "smoothness must be at least 0"),
        (lambda: Affine(1.5), "strength must be at most 1"),
        (lambda: Affine(rotation=200), "rotation must be at most 180"),
        (lambda: Affine(scaling=0.9), "scaling must be at least 1"),
    ],
)
def test_wrong_arguments(make, error):
    with pytest.raises((TypeError, ValueError), match=error):
        make()
