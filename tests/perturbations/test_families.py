"""What holds for every family of perturbations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medadv.attacks.randomness import Draw
from medadv.perturbations import (
    Additive,
    Affine,
    Chain,
    Flow,
    FrequencyQuantisation,
    IntensityCurve,
    Perturbation,
    PolynomialBiasField,
    SplineBiasField,
    SplineDeformation,
)

# Each with the name of its budget, and the budget at which nothing may change.
FAMILIES = {
    Additive(0.05): ("eps", 0.0),
    Additive(0.5, "l2"): ("eps", 0.0),
    SplineBiasField(1.4, spacing=4): ("gain", 1.0),
    PolynomialBiasField(1.4): ("gain", 1.0),
    PolynomialBiasField(1.4, 4, "monomial", "flow", 3, per_channel=True): ("gain", 1.0),
    SplineDeformation(1.5, spacing=4): ("displacement", 0.0),
    SplineDeformation(3.0, spacing=3, jacobian=0.4, interpolation="cubic", padding="reflection"): ("displacement", 0.0),
    Flow(1.5): ("displacement", 0.0),
    Affine(0.75): ("strength", 0.0),
    IntensityCurve(1.5, window=0.1): ("gamma", 1.0),
    FrequencyQuantisation(20.0, block=4): ("step", 0.0),
    Chain((SplineDeformation(1.5, spacing=4), SplineBiasField(1.4), Additive(0.05)), 0.5): ("strength", 0.0),
}
EVERY = pytest.mark.parametrize("family", FAMILIES, ids=repr)
# Rounded frequencies have the gradient of secants: test_value_families.py holds it to them, entry by entry.
SMOOTH = [family for family in FAMILIES if not isinstance(family, FrequencyQuantisation)]
BOUNDS = [(0.0, 1.0), (-1024.0, 3071.0), (-1.0, 1.0)]
SHAPES = [(3, 1, 9, 12), (2, 3, 8, 7), (2, 4, 5, 6, 7)]


def images_in(bounds, shape, seed=0):
    low, high = bounds
    share = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    images = low + (high - low) * share
    images[..., 0], images[..., -1] = low, high
    return images.clamp(low, high)


def far_away(family, images, seed=1, size=9.0):
    generator = torch.Generator().manual_seed(seed)
    zeros = family.identity(images)
    return {name: torch.randn(values.shape, generator=generator) * size for name, values in zeros.items()}


def budget_of(family):
    return getattr(family, FAMILIES[family][0])


def test_all_are_perturbations():
    assert all(isinstance(family, Perturbation) for family in FAMILIES)


@EVERY
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_identity_changes_nothing(family, bounds, shape):
    x = images_in(bounds, shape)
    nothing = family.identity(x)
    assert torch.equal(family.apply(x, nothing, bounds), x)
    assert family.share(x, nothing, bounds).tolist() == [0.0] * len(x)
    assert all(torch.equal(family.project(x, nothing, bounds)[name], values) for name, values in nothing.items())
    if not isinstance(family, Chain):
        assert family.distance(x, nothing, bounds).tolist() == [FAMILIES[family][1]] * len(x)


@EVERY
@settings(deadline=None, max_examples=15)
@given(st.sampled_from(BOUNDS), st.sampled_from(SHAPES), st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 100.0]))
def test_what_is_projected_keeps_the_budget_and_the_bounds(family, bounds, shape, seed, size):
    x = images_in(bounds, shape, seed)
    inside = family.project(x, far_away(family, x, seed + 1, size), bounds)
    y = family.apply(x, inside, bounds)
    assert y.shape == x.shape
    assert y.dtype == torch.float32
    assert bool((y >= bounds[0]).all())
    assert bool((y <= bounds[1]).all())
    room = 1e-6 if isinstance(family, Chain) else 0.0
    assert float(family.distance(x, inside, bounds).max()) <= budget_of(family) + room
    assert bool((family.share(x, inside, bounds) <= 1 + 1e-6).all())


@EVERY
def test_a_large_change_uses_the_budget_up(family):
    bounds = BOUNDS[0]
    x = 0.3 + 0.4 * torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    far = {name: torch.full_like(values, 1e4) for name, values in family.identity(x).items()}
    share = family.share(x, family.project(x, far, bounds), bounds)
    assert bool((share > 0.999).all())


@EVERY
@pytest.mark.parametrize("bounds", BOUNDS)
def test_random_parameters_keep_the_budget_and_depend_on_the_example_alone(family, bounds):
    x = images_in(bounds, (4, 2, 8, 9))
    ids = torch.tensor([5, 2, 9, 7])
    drawn = family.random(x, Draw(0, ids, 0), bounds)
    room = 1e-6 if isinstance(family, Chain) else 0.0
    assert float(family.distance(x, drawn, bounds).max()) <= budget_of(family) + room
    assert bool((family.share(x, drawn, bounds) > 0).all())
    alone = family.random(x[2:3], Draw(0, ids[2:3], 0), bounds)
    assert all(torch.equal(alone[name], values[2:3]) for name, values in drawn.items())


@EVERY
@pytest.mark.parametrize("shape", SHAPES)
def test_images_do_not_see_each_other(family, shape):
    bounds = BOUNDS[1]
    x = images_in(bounds, shape)
    inside = family.project(x, far_away(family, x), bounds)
    y = family.apply(x, inside, bounds)
    last = {name: values[-1:] for name, values in inside.items()}
    torch.testing.assert_close(family.apply(x[-1:], last, bounds), y[-1:], rtol=1e-6, atol=1e-3)
    assert not torch.equal(y, x)


@pytest.mark.parametrize("family", SMOOTH, ids=repr)
@pytest.mark.parametrize("axes", [2, 3])
def test_gradients_point_uphill(family, axes):
    """A step along the gradient raises a smooth objective by about the square of the gradient."""
    x = 0.3 + 0.4 * torch.rand(1, 1, *[7, 8, 6][:axes], generator=torch.Generator().manual_seed(0))
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    start = family.random(x, Draw(0, torch.arange(1), 0), BOUNDS[0])
    start = {name: (values * 0.5).requires_grad_() for name, values in start.items()}

    def value(parameters):
        return (family.apply(x, parameters, BOUNDS[0]).double() * weights).sum()

    gradients = torch.autograd.grad(value(start), list(start.values()))
    square = sum(float(gradient.double().square().sum()) for gradient in gradients)
    assert square > 0
    radius = min(radius for radius in family.radii(BOUNDS[0]).values() if radius > 0)
    step = 1e-3 * radius / max(float(gradient.abs().max()) for gradient in gradients)
    moved = {
        name: values.detach() + step * gradient
        for (name, values), gradient in zip(start.items(), gradients, strict=True)
    }
    rise = float(value(moved) - value(start))
    assert rise == pytest.approx(step * square, rel=0.2)


@EVERY
@pytest.mark.parametrize("factor", [0.25, 1.0])
def test_a_scaled_budget_is_a_part_of_the_budget(family, factor):
    bounds = BOUNDS[0]
    x = 0.3 + 0.4 * torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    smaller = family.scaled(factor)
    inside = smaller.project(x, far_away(family, x, size=1e4), bounds)
    if isinstance(family, PolynomialBiasField):  # whose limit is not in the parameters, but in what is made of them
        y = smaller.apply(x, inside, bounds)
        share = (y / x).log().abs().flatten(1).amax(1) / math.log(family.gain)
    else:
        share = family.share(x, inside, bounds)
    assert bool((share <= factor + 1e-6).all())
    assert smaller.scaled(1.0) == smaller
    assert (family.scaled(1.0) == family) is True


@EVERY
def test_a_penalty_is_zero_where_none_is_asked_for(family):
    x = images_in(BOUNDS[0], (2, 1, 8, 8))
    assert family.penalty(x, far_away(family, x)).tolist() == [0.0, 0.0]
