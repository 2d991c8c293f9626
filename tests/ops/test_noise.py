import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.operators import (
    bits_for_threads,
    check_batching,
    check_compiles,
    check_gradients,
    check_layouts,
    check_registration,
)
from torch.library import opcheck

from medadv.ops import add_noise, project_noise, row_lengths, sign_step, unit_rows, unit_step

WIDE = (-math.inf, math.inf)
DTYPES = [torch.float32, torch.float64]
# One voxel, a run that no vector divides, several blocks, images of several blocks each.
SHAPES = [(1, 1, 1, 1), (3, 2, 5, 7), (2, 1, 131, 127), (1, 1, 9, 40, 61), (5, 3)]
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**20), max_value=2.0**20)


def sample(shape, *, dtype=torch.float32, device="cpu", seed=0):
    """An image in [0, 1] with voxels at both bounds, and noise that leads beyond them."""
    g = torch.Generator().manual_seed(seed)
    image = (1.2 * torch.rand(shape, generator=g, dtype=torch.float64) - 0.1).clamp(0, 1)
    noise = 0.6 * torch.rand(shape, generator=g, dtype=torch.float64) - 0.3
    return image.to(device, dtype), noise.to(device, dtype)


def one(*values):
    return [torch.tensor([value], dtype=torch.float32) for value in values]


@given(numbers, numbers)
def test_a_sum_is_never_further_from_the_image_than_the_noise(base, change):
    x, d = one(base, change)
    total = add_noise(x, d, WIDE)
    exact = Fraction(x.item()) + Fraction(d.item())
    assert abs(Fraction(total.item()) - Fraction(x.item())) <= abs(Fraction(d.item()))
    # It is one of the two float32 numbers around the exact sum.
    below, above = (torch.nextafter(total, torch.tensor([limit])).item() for limit in (-math.inf, math.inf))
    assert Fraction(below) < exact < Fraction(above)


@given(numbers, numbers, numbers)
def test_a_sum_errs_towards_what_it_is_told(base, change, target):
    x, d, t = one(base, change, target)
    total = Fraction(add_noise(x, d, WIDE, t).item())
    exact = Fraction(x.item()) + Fraction(d.item())
    if Fraction(t.item()) < exact:
        assert total <= exact
    if Fraction(t.item()) > exact:
        assert total >= exact


def test_rounding_to_nearest_would_break_a_budget(device):
    x = torch.rand(10_000, generator=torch.Generator().manual_seed(0)).to(device)
    d = torch.full_like(x, float(np.float32(8 / 255)))
    assert ((x + d).double() - x.double() > d.double()).any()
    assert not (add_noise(x, d, WIDE).double() - x.double() > d.double()).any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_sum_is_the_nearest_or_its_neighbour_on_the_side_of_the_image(device, dtype, shape):
    image, noise = sample(shape, dtype=dtype, device=device)
    total = (image.double() + noise.double()).clamp(0, 1)
    nearest = (image + noise).clamp(0, 1)
    found = add_noise(image, noise, (0.0, 1.0))
    exact = dtype == torch.float32  # float64 holds the sum of two float32
    too_far = (nearest.double() - image.double()).abs() > noise.double().abs() if exact else found != nearest
    assert torch.equal(found[~too_far], nearest[~too_far])
    assert torch.equal(found[too_far], torch.nextafter(nearest, image)[too_far])
    if image.numel() > 1000 and exact:
        assert too_far.any()
        assert (found.double() - total).abs().max() < 1e-7


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_projection_clips_to_the_bounds_and_the_ball(device, dtype, shape):
    image, noise = sample(shape, dtype=dtype, device=device)
    expected = noise.clamp(0 - image, 1 - image).clamp(-0.125, 0.125)
    assert torch.equal(project_noise(image, noise, (0.0, 1.0), 0.125), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_projection_shortens_only_what_is_too_long(device, dtype, shape):
    image, noise = sample(shape, dtype=dtype, device=device)
    if len(image) > 1:
        noise[0] *= 1e-3  # fits
    clipped = noise.clamp(0 - image, 1 - image)
    length = clipped.double().flatten(1).norm(dim=1)
    radius = 0.25 * float(length.max())
    found = project_noise(image, noise, (0.0, 1.0), radius, "l2")
    assert row_lengths(found).max() <= radius
    expected = clipped.double() * (radius / length.clamp_min(max(radius, 1e-30))).reshape(-1, *[1] * (len(shape) - 1))
    torch.testing.assert_close(found.double(), expected, rtol=4e-7 if dtype == torch.float32 else 1e-14, atol=0)
    if len(image) > 1:
        assert torch.equal(found[0], clipped[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("radius", [0.1, 0.3, 8 / 255, 1e-46, 1e300, math.inf])
def test_a_radius_between_two_numbers_is_the_lower_of_them(device, dtype, radius):
    image, noise = (torch.full((1, 3), value, device=device, dtype=dtype) for value in (0.0, math.inf))
    nearest = torch.tensor(radius, dtype=dtype)
    at_most = nearest if float(nearest) <= radius else torch.nextafter(nearest, torch.zeros_like(nearest))
    moved, _ = sign_step(image, torch.zeros_like(image), noise, 1e38, WIDE, radius)
    assert project_noise(image, noise, WIDE, radius).tolist() == [[float(at_most)] * 3]
    assert moved.tolist() == [[min(float(at_most), float(torch.tensor(1e38, dtype=dtype)))] * 3]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("length", [0.0625, 0.1, -0.1, 0.0, 1e9])
def test_a_step_is_that_of_the_sign_then_projected(device, dtype, shape, length):
    image, noise = sample(shape, dtype=dtype, device=device)
    _, gradient = sample(shape, dtype=dtype, device=device, seed=1)
    gradient[gradient.abs() < 0.05] = 0.0
    gradient.view(-1)[0] = torch.nan
    expected = project_noise(image, torch.add(noise, gradient.sign(), alpha=length), (0.0, 1.0), 0.125)
    stepped, noisy = sign_step(image, noise, gradient, length, (0.0, 1.0), 0.125)
    assert torch.equal(stepped, expected)
    assert torch.equal(noisy, add_noise(image, expected, (0.0, 1.0)))


@given(numbers, numbers, numbers, st.floats(0, 2.0**10, width=32), st.floats(0, 2.0**10, width=32))
def test_a_step_stays_in_the_ball_and_never_leads_downhill(start, noise, slope, length, radius):
    x, d, g = one(start, max(-radius, min(noise, radius)), slope)
    stepped, noisy = sign_step(x, d, g, length, WIDE, radius)
    assert torch.equal(noisy, add_noise(x, stepped, WIDE))
    assert abs(stepped.item()) <= radius
    assert (stepped.item() - d.item()) * (slope > 0) >= 0
    assert (stepped.item() - d.item()) * (slope < 0) <= 0
    assert slope != 0 or stepped.item() == d.item()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("length", [0.5, -0.5, 0.0, 1e9])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_of_one_length_is_made_then_projected(device, dtype, shape, length, norm):
    image, noise = sample(shape, dtype=dtype, device=device)
    _, gradient = sample(shape, dtype=dtype, device=device, seed=1)
    stepped = noise.double() + length * unit_rows(gradient.double())
    # Of every row its own radius: all of it, a half, nothing, ...
    reach = row_lengths(stepped.clamp(0.0 - image.double(), 1.0 - image.double()), norm)
    radius = reach * torch.tensor([1.25, 0.5, 0.0, 0.25, 0.75], device=device, dtype=torch.float64)[: len(image)]
    found = unit_step(image, noise, gradient, length, (0.0, 1.0), radius, norm)
    assert (row_lengths(found, norm) <= radius).all()
    rows = [
        project_noise(image[i : i + 1].double(), stepped[i : i + 1], (0.0, 1.0), float(radius[i]), norm)
        for i in range(len(image))
    ]
    tolerance = {"rtol": 1e-6, "atol": 1e-7} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(found.double(), torch.cat(rows), **tolerance)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_radius_is_that_of_every_row(device, norm):
    image, noise = sample((3, 2, 5, 7), device=device)
    each = torch.full((3,), 0.123, dtype=torch.float64, device=device)
    step = (image, noise, noise, 0.5, (0.0, 1.0))
    assert torch.equal(unit_step(*step, 0.123, norm), unit_step(*step, each, norm))


def test_a_row_without_a_gradient_is_projected_alone(device):
    image, noise = sample((2, 1, 4, 5), device=device)
    gradient = torch.zeros_like(image)
    gradient[1] = 1.0
    found = unit_step(image, noise, gradient, 0.5, (0.0, 1.0), 0.5)
    assert torch.equal(found[:1], project_noise(image[:1], noise[:1], (0.0, 1.0), 0.5, "l2"))
    assert not torch.equal(found[1:], project_noise(image[1:], noise[1:], (0.0, 1.0), 0.5, "l2"))


@given(st.floats(0, 2.0**10), st.sampled_from(["linf", "l2"]), numbers, numbers)
def test_a_step_of_one_length_keeps_any_radius(radius, norm, start, slope):
    image, noise, gradient = one(0.0, start, slope)
    radii = torch.tensor([radius], dtype=torch.float64)
    stepped = unit_step(image, noise, gradient, 3.0, WIDE, radii, norm)
    assert abs(Fraction(stepped.item())) <= Fraction(radius)
    # It is not held back either, but by what the radius cannot be told to float32.
    reached = min(abs(start + math.copysign(3.0, slope) * (slope != 0)), radius)
    assert abs(stepped.item()) >= reached * (1 - 1e-6) - 1e-37


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_radius_below_zero_among_others_leaves_nothing(device, norm):
    image, noise = sample((2, 1, 4, 4), device=device)
    radius = torch.tensor([-1.0, 0.5], dtype=torch.float64, device=device)
    found = unit_step(image, noise, noise, 0.5, (0.0, 1.0), radius, norm)
    assert not found[0].any()
    assert found[1].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_row_is_longer_than_the_radius(device, dtype):
    """Not by one bit of float64, whichever way the entries and the length are rounded."""
    noise = sample((20_000, 3), dtype=dtype, device=device)[1]
    found = project_noise(torch.zeros_like(noise), noise, (-1.0, 1.0), 0.123, "l2")
    assert row_lengths(found).max() <= 0.123


def test_bounds_may_be_one_number(device):
    image, noise = sample((2, 1, 4, 5), device=device)
    assert add_noise(image, noise, (0.5, 0.5)).eq(0.5).all()
    assert torch.equal(project_noise(image, noise, (0.5, 0.5), 0.125), (0.5 - image).clamp(-0.125, 0.125))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_radius_of_zero_leaves_nothing(device, norm):
    image, noise = sample((2, 1, 4, 4), device=device)
    assert not project_noise(image, noise, (0.0, 1.0), 0.0, norm).any()


def test_what_is_no_number_stays(device):
    image, noise = sample((1, 1, 4, 5), device=device)
    noise[0, 0, 1, 1] = torch.nan
    assert add_noise(image, noise, (0.0, 1.0)).isnan().sum() == 1
    assert project_noise(image, noise, (0.0, 1.0), 0.1).isnan().sum() == 1
    assert [out.isnan().sum() for out in sign_step(image, noise, image, 0.1, (0.0, 1.0), 0.1)] == [1, 1]
    assert unit_step(image, noise, image, 0.1, (0.0, 1.0), 0.1, "linf").isnan().sum() == 1


def test_gradient_is_that_of_a_sum():
    image, noise = (values * 0.1 + 0.4 for values in sample((2, 1, 3, 3), dtype=torch.float64))
    check_gradients(lambda x, d: add_noise(x, d, (0.0, 1.0)), [image, noise - 0.4])
    image, noise = (values.requires_grad_() for values in sample((2, 1, 3, 3)))
    out = add_noise(image, noise, (0.4, 0.5))  # clipped nearly everywhere
    grads = torch.autograd.grad(out, (image, noise), torch.full_like(out, 3.0))
    assert all(torch.equal(grad, torch.full_like(out, 3.0)) for grad in grads)
    assert not project_noise(image, noise, (0.0, 1.0), 0.1).requires_grad
    assert not any(out.requires_grad for out in sign_step(image, noise, noise, 0.1, (0.0, 1.0), 0.1))
    assert not unit_step(image, noise, noise, 0.1, (0.0, 1.0), 0.1).requires_grad


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_registration(device, dtype):
    image, noise = sample((2, 1, 5, 4), dtype=dtype, device=device)
    check_registration(torch.ops.medadv.add_noise, (image, noise, None, 0.0, 1.0))
    opcheck(torch.ops.medadv.add_noise, (image, noise, noise, 0.0, 1.0))
    opcheck(torch.ops.medadv.project_noise, (image, noise, 0.0, 1.0, 0.1, 2))
    opcheck(torch.ops.medadv.sign_step, (image, noise, noise, 0.1, 0.0, 1.0, 0.1))
    radius = torch.ones(2, dtype=torch.float64, device=device)
    opcheck(torch.ops.medadv.unit_step, (image, noise, noise, 0.1, 0.0, 1.0, radius, 2))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, d: add_noise(x, d, (-1.0, 1.0)),
        lambda x, d: add_noise(x, d, (-1.0, 1.0), d),
        lambda x, d: project_noise(x, d, (-1.0, 1.0), 0.1),
        lambda x, d: project_noise(x, d, (-1.0, 1.0), 0.1, "l2"),
        lambda x, d: torch.stack(sign_step(x, d, d - x, 0.1, (-1.0, 1.0), 0.2), 1),
        lambda x, d: unit_step(x, d, d - x, 0.1, (-1.0, 1.0), x.flatten(1).double().abs().amax(1), "linf"),
        lambda x, d: unit_step(x, d, d - x, 0.1, (-1.0, 1.0), x.flatten(1).double().abs().amax(1), "l2"),
    ],
    ids=["add", "add towards", "project linf", "project l2", "sign step", "unit step linf", "unit step l2"],
)
def test_layouts_and_batching(device, function):
    tensors = sample((3, 2, 5, 4), device=device)
    check_layouts(function, tensors)
    check_batching(function, tensors)


def test_compiles(device):
    check_compiles(lambda x, d: add_noise(x, d, (-1.0, 1.0)), sample((2, 1, 5, 4), device=device))
    torch._dynamo.reset()
    image, noise = sample((2, 1, 5, 4), device=device)
    compiled = torch.compile(lambda x, d: project_noise(x, d, (0.0, 1.0), 0.2, "l2"), fullgraph=True)
    assert torch.equal(compiled(image, noise), project_noise(image, noise, (0.0, 1.0), 0.2, "l2"))
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, d: sign_step(x, d, d, 0.1, (0.0, 1.0), 0.2), fullgraph=True)
    expected = sign_step(image, noise, noise, 0.1, (0.0, 1.0), 0.2)
    assert all(map(torch.equal, compiled(image, noise), expected))
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, d: unit_step(x, d, d, 0.1, (0.0, 1.0), 0.2), fullgraph=True)
    assert torch.equal(compiled(image, noise), unit_step(image, noise, noise, 0.1, (0.0, 1.0), 0.2))


def test_same_bits_for_any_number_of_threads():
    image, noise = sample((3, 1, 301, 517))
    for run in (
        lambda: add_noise(image, noise, (0.0, 1.0)),
        lambda: project_noise(image, noise, (0.0, 1.0), 3.0, "l2"),
        lambda: torch.cat(sign_step(image, noise, noise, 0.1, (0.0, 1.0), 0.2)),
        lambda: unit_step(image, noise, noise, 0.1, (0.0, 1.0), 0.2),
    ):
        one_thread, two_threads = bits_for_threads(run)
        assert torch.equal(one_thread, two_threads)


def test_no_images():
    image = torch.zeros(0, 1, 4, 4)
    assert add_noise(image, image, (0.0, 1.0)).shape == image.shape
    assert project_noise(image, image, (0.0, 1.0), 1.0, "l2").shape == image.shape
    assert [out.shape for out in sign_step(image, image, image, 0.1, (0.0, 1.0), 1.0)] == [image.shape, image.shape]
    assert unit_step(image, image, image, 0.1, (0.0, 1.0), 1.0).shape == image.shape


IMAGE = torch.zeros(2, 1, 3, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: add_noise(IMAGE.half(), IMAGE.half(), (0.0, 1.0)), "image must be float32 or float64, got Half"),
        (lambda: add_noise(IMAGE, IMAGE.double(), (0.0, 1.0)), "noise must have the dtype of image, Float, got Double"),
        (lambda: add_noise(IMAGE, IMAGE[:1], (0.0, 1.0)), r"noise must have the shape of image, \[2, 1, 3, 3\]"),
        (lambda: add_noise(IMAGE, IMAGE, (0.0, 1.0), IMAGE[0]), "towards must have the shape of image"),
        (lambda: add_noise(IMAGE, IMAGE, (1.0, 0.0)), "low must not be above high, got 1 and 0"),
        (lambda: project_noise(IMAGE, IMAGE, (0.0, 1.0), -1.0), "radius must not be negative, got -1"),
        (lambda: project_noise(IMAGE, IMAGE, (0.0, 1.0), 1.0, "l1"), "norm must be 'linf' or 'l2', got 'l1'"),
        (lambda: torch.ops.medadv.project_noise(IMAGE, IMAGE, 0.0, 1.0, 1.0, 1), "norm must be 0"),
        (lambda: sign_step(IMAGE, IMAGE, IMAGE[:1], 1.0, (0.0, 1.0), 1.0), "gradient must have the shape of image"),
        (lambda: sign_step(IMAGE, IMAGE, IMAGE, math.nan, (0.0, 1.0), 1.0), "length must be finite, got nan"),
        (lambda: sign_step(IMAGE, IMAGE, IMAGE, 1.0, (0.0, 1.0), -1.0), "sign_step: radius must not be negative"),
        (lambda: sign_step(IMAGE, IMAGE, IMAGE, 1.0, (1.0, 0.0), 1.0), "low must not be above high"),
        (lambda: unit_step(IMAGE, IMAGE, IMAGE[:1], 1.0, (0.0, 1.0), 1.0), "gradient must have the shape of image"),
        (
            lambda: unit_step(IMAGE, IMAGE, IMAGE, math.inf, (0.0, 1.0), 1.0),
            "unit_step: length must be finite, got inf",
        ),
        (
            lambda: unit_step(IMAGE, IMAGE, IMAGE, 1.0, (0.0, 1.0), torch.ones(2)),
            r"radius must be \[2\] float64, one number per row, got \[2\] Float",
        ),
        (
            lambda: unit_step(IMAGE, IMAGE, IMAGE, 1.0, (0.0, 1.0), torch.ones(1).double()),
            r"radius must be \[2\] float64, one number per row, got \[1\] Double",
        ),
        (lambda: unit_step(IMAGE, IMAGE, IMAGE, 1.0, (0.0, 1.0), 1.0, "l1"), "norm must be 'linf' or 'l2', got 'l1'"),
        (lambda: unit_step(IMAGE, IMAGE, IMAGE, 1.0, (1.0, 0.0), 1.0), "low must not be above high"),
        (lambda: unit_step(IMAGE, IMAGE, IMAGE, 1.0, (0.0, 1.0), -1.0), "radius must not be negative, got -1"),
        (lambda: unit_step(IMAGE, IMAGE, IMAGE, 1.0, (0.0, 1.0), math.nan), "radius must not be negative, got nan"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: add_noise(IMAGE, 0, (0.0, 1.0)), "add_noise: noise must be a torch.Tensor, got int"),
        (lambda: add_noise(IMAGE, IMAGE, None), "add_noise: bounds must be two numbers, low and high, got None"),
        (lambda: add_noise(IMAGE, IMAGE, (0.0, "1")), "add_noise: the high bound must be a number, got '1'"),
        (
            lambda: project_noise(IMAGE, IMAGE, (0.0,), 1.0),
            r"project_noise: bounds must be two numbers, .* got \(0.0,\)",
        ),
        (lambda: project_noise(IMAGE, IMAGE, (0.0, 1.0), None), "project_noise: radius must be a number, got None"),
        (lambda: sign_step(IMAGE, IMAGE, IMAGE, "1", (0.0, 1.0), 1.0), "sign_step: length must be a number, got '1'"),
        (lambda: sign_step(IMAGE, IMAGE, IMAGE, 1.0, (True, 1.0), 1.0), "sign_step: the low bound must be a number"),
        (lambda: sign_step(IMAGE, IMAGE, IMAGE, 1.0, (0.0, 1.0), 1j), "sign_step: radius must be a number, got 1j"),
        (lambda: unit_step(IMAGE, IMAGE, IMAGE, None, (0.0, 1.0), 1.0), "unit_step: length must be a number, got None"),
        (lambda: unit_step(IMAGE, IMAGE, IMAGE, 1.0, 1.0, 1.0), "unit_step: bounds must be two numbers"),
        (
            lambda: unit_step(IMAGE, IMAGE, IMAGE, 1.0, (0.0, 1.0), "1"),
            "unit_step: radius must be a number, or one per row, got '1'",
        ),
    ],
)
def test_refuses_what_is_no_tensor_or_no_number(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_a_step_of_a_single_number_is_refused_in_words():
    number = torch.tensor(0.5)
    with pytest.raises(ValueError, match="unit_step: image must "):
        unit_step(number, number, number, 1.0, (0.0, 1.0), 1.0)
