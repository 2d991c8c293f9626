import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.operators import (
    bits_for_threads,
    check_batching,
    check_compiles,
    check_gradients,
    check_layouts,
    check_registration,
    leaves,
)

from medadv._core import definitions
from medadv.ops import bending_energy, membrane_energy, total_variation

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
# Axes of one, two and three voxels, rows that are no whole packs, planes of more than one block.
CASES = [
    ((1, 1, 1, 1), 1.0),
    ((2, 3, 1, 17), 1.0),
    ((2, 1, 13, 1), (0.5, 2.0)),
    ((1, 2, 2, 3), (0.5, 2.0)),
    ((2, 2, 40, 70), 1.5),
    ((1, 1, 300, 130), (0.7, 1.0)),
    ((1, 2, 3, 2, 1), 1.0),
    ((2, 1, 1, 9, 33), 0.8),
    ((1, 3, 5, 6, 7), (2.0, 1.0, 0.7)),
    ((1, 1, 4, 150, 140), (1.0, 1.5, 1.0)),
]


def sample(shape, *, dtype=torch.float64, device="cpu", seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.float64).to(device, dtype)


def lengths(voxel, shape):
    return [voxel] * (len(shape) - 2) if isinstance(voxel, float) else list(voxel)


def dense(kind, field, voxel=1.0):
    """The docstring in plain torch and float64."""
    u, h = field.double().cpu(), lengths(voxel, field.shape)
    axes = range(len(h))
    if kind == "bending":
        terms = [(u.diff(n=2, dim=a + 2) / h[a] ** 2).square() for a in axes if u.shape[a + 2] > 2]
        pairs = itertools.combinations(axes, 2)
        terms += [2 * (u.diff(dim=a + 2).diff(dim=b + 2) / (h[a] * h[b])).square() for a, b in pairs]
    else:
        slopes = [u.diff(dim=a + 2) / h[a] for a in axes]
        terms = [d.square() if kind == "membrane" else d.abs() for d in slopes]
    return sum((t.flatten(1).sum(1) for t in terms), torch.zeros(len(u), dtype=torch.float64)) * math.prod(h)


FUNCTIONS = {
    "membrane": lambda u, h=1.0: membrane_energy(u, voxel_size=h),
    "bending": lambda u, h=1.0: bending_energy(u, voxel_size=h),
    "variation": lambda u, h=1.0: total_variation(u, h),
}
OPS = {"membrane": "dense_membrane_energy", "bending": "dense_bending_energy", "variation": "dense_total_variation"}
kinds = pytest.mark.parametrize("kind", FUNCTIONS)


@kinds
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "voxel"), CASES, ids=str)
def test_energy_is_the_sum_in_the_docstring(device, kind, dtype, shape, voxel):
    field = sample(shape, dtype=dtype, device=device)
    energy = FUNCTIONS[kind](field, voxel)
    assert energy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    torch.testing.assert_close(energy.double().cpu(), dense(kind, field, voxel), rtol=tolerance, atol=0)


@kinds
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "voxel"), CASES, ids=str)
def test_gradient(device, kind, dtype, shape, voxel):
    field = sample(shape, dtype=dtype, device=device).requires_grad_()
    exact = field.detach().double().cpu().requires_grad_()
    cotangent = torch.linspace(0.5, 2.0, shape[0], dtype=torch.float64)
    energy, expected = FUNCTIONS[kind](field, voxel), dense(kind, exact, voxel)
    (got,) = torch.autograd.grad(energy, field, cotangent.to(energy))
    want = torch.zeros(shape, dtype=torch.float64)
    if expected.requires_grad:
        (want,) = torch.autograd.grad(expected, exact, cotangent)
    assert got.dtype == dtype
    tolerance = TOLERANCE[dtype]
    scale = max(want.abs().max().item(), 1e-30)
    torch.testing.assert_close(got.double().cpu(), want, rtol=tolerance, atol=tolerance * scale)


@kinds
@pytest.mark.parametrize(("shape", "voxel"), [CASES[3], CASES[4], CASES[8]], ids=str)
def test_matches_the_voxel_by_voxel_definition(kind, shape, voxel):
    field, h = sample(shape), lengths(voxel, shape)
    value, gradient = getattr(definitions, OPS[kind])(field[0, 0].numpy(), h)
    (channel,) = leaves([field[:1, :1]])
    energy = FUNCTIONS[kind](channel, voxel)
    np.testing.assert_allclose(energy.item(), value, rtol=1e-12)
    (got,) = torch.autograd.grad(energy.sum(), channel)
    np.testing.assert_allclose(got[0, 0].numpy(), gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", ["membrane", "bending"])
@pytest.mark.parametrize(("shape", "voxel"), [((2, 2, 4, 5), (0.7, 1.5)), ((1, 1, 3, 4, 3), 1.2)], ids=str)
def test_derivatives_of_any_order(device, kind, shape, voxel):
    check_gradients(lambda u: FUNCTIONS[kind](u, voxel).square(), [sample(shape, device=device)])


@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (1, 1, 3, 4, 3)], ids=str)
def test_derivatives_of_the_total_variation(device, shape):
    # Neighbours differ by far more than the step of the finite differences, so no kink is near.
    check_gradients(lambda u: total_variation(u, 0.7).square(), [sample(shape, device=device)])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), axes=st.integers(2, 3))
def test_closed_forms(seed, axes):
    g = torch.Generator().manual_seed(seed)
    size = [int(torch.randint(3, 8, (), generator=g)) for _ in range(axes)]
    h = (torch.rand(axes, generator=g, dtype=torch.float64) + 0.5).tolist()
    slopes = torch.randn(axes, generator=g, dtype=torch.float64)
    grid = torch.meshgrid(*[torch.arange(n).double() * v for n, v in zip(size, h, strict=True)], indexing="ij")
    affine = sum(s * x for s, x in zip(slopes, grid, strict=True))[None, None] + 3.0
    volume = math.prod(h) * math.prod(size)
    differences = torch.tensor([(n - 1) / n for n in size], dtype=torch.float64)
    assert bending_energy(affine, voxel_size=h).item() < 1e-20 * volume
    torch.testing.assert_close(membrane_energy(affine, voxel_size=h)[0], (slopes**2 * differences).sum() * volume)
    torch.testing.assert_close(total_variation(affine, h)[0], (slopes.abs() * differences).sum() * volume)
    saddle = (grid[0] * grid[1])[None, None]  # mixed derivative 1: counted twice
    squares = differences[0] * differences[1] * volume
    torch.testing.assert_close(bending_energy(saddle, voxel_size=h)[0], 2 * squares)


def test_stripes_of_one_voxel_are_seen(device):
    stripes = torch.arange(8.0, device=device).remainder(2).expand(1, 1, 8, 8)
    assert membrane_energy(stripes).item() == 7 * 8
    assert total_variation(stripes).item() == 7 * 8
    checks = (stripes - stripes.mT).abs()
    assert bending_energy(checks).item() == 2 * 6 * 8 * 4 + 2 * 7 * 7 * 4


def test_a_large_offset_costs_no_accuracy(device):
    field = sample((1, 1, 5, 40, 40), dtype=torch.float32, device=device).mul(64).round() / 64
    for kind in FUNCTIONS:
        for a, b in zip(*(self_and_gradient(kind, field + offset) for offset in (0.0, 4096.0)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def self_and_gradient(kind, field, voxel=1.0):
    (field,) = leaves([field])
    energy = FUNCTIONS[kind](field, voxel)
    return energy.detach(), *torch.autograd.grad(energy.sum(), field)


@kinds
def test_same_bits_for_any_number_of_threads(kind):
    for shape in ((3, 2, 197, 230), (1, 2, 40, 50, 61)):
        field = sample(shape, dtype=torch.float32)
        one, two, three = bits_for_threads(lambda field=field: self_and_gradient(kind, field), (1, 2, 3))
        for a, b, c in zip(one, two, three, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(a, c)


@kinds
def test_an_example_does_not_depend_on_its_batch(device, kind):
    field = sample((4, 2, 30, 50), dtype=torch.float32, device=device)
    whole, gradient = self_and_gradient(kind, field)
    for i in range(4):
        alone, alone_gradient = self_and_gradient(kind, field[i : i + 1])
        assert torch.equal(alone[0], whole[i])
        assert torch.equal(alone_gradient[0], gradient[i])


@kinds
def test_registration(device, kind):
    field, h = sample((2, 2, 4, 5), device=device), [2.0, 3.0]
    check_registration(getattr(torch.ops.medadv, OPS[kind]).default, (field, h))
    grad = torch.tensor([[1.0, 2.0], [0.5, 3.0]], dtype=torch.float64, device=device)
    check_registration(getattr(torch.ops.medadv, f"{OPS[kind]}_backward").default, (grad, field, h))


@kinds
def test_layouts_compile_and_batching(device, kind):
    field = sample((2, 3, 9, 10), device=device)
    check_layouts(FUNCTIONS[kind], [field])
    check_compiles(FUNCTIONS[kind], [field])
    check_batching(FUNCTIONS[kind], [field])


@kinds
def test_autocast_computes_in_float32(device, kind):
    field = sample((1, 1, 8, 9), dtype=torch.bfloat16, device=device).requires_grad_()
    with torch.autocast(device, torch.bfloat16):
        energy = FUNCTIONS[kind](field)
    assert energy.dtype == torch.float32
    assert torch.autograd.grad(energy.sum(), field)[0].dtype == torch.bfloat16


@kinds
@pytest.mark.parametrize("shape", [(0, 1, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (2, 1, 5, 0), (1, 1, 0, 4, 4)], ids=str)
def test_empty_fields(device, kind, shape):
    field = torch.rand(shape, device=device, requires_grad=True)
    energy = FUNCTIONS[kind](field)
    assert energy.shape == shape[:1]
    assert not energy.any()
    assert torch.autograd.grad(energy.sum(), field)[0].shape == shape


@kinds
def test_what_is_not_finite_is_not_hidden(device, kind):
    field = sample((2, 1, 20, 40), dtype=torch.float32, device=device)
    field[0, 0, 10, 20] = math.nan
    energy, gradient = self_and_gradient(kind, field)
    assert energy[0].isnan()
    assert energy[1].isfinite()
    assert gradient.isnan().sum() <= 13  # within the stencil


@kinds
@pytest.mark.parametrize(("shape", "exponent"), [((2, 1, 5, 6), 400), ((2, 1, 5, 6), -200), ((2, 1, 4, 5, 6), 330)])
def test_units_of_length_change_the_energy_by_their_power(kind, shape, exponent):
    field = sample(shape)
    power = len(shape) - 2 - {"membrane": 2, "variation": 1, "bending": 4}[kind]
    found, once = (self_and_gradient(kind, field, length) for length in (2.0**exponent, 1.0))
    for result, one in zip(found, once, strict=True):
        assert torch.equal(result, one * 2.0 ** (exponent * power))


@kinds
@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((sample((5, 6)),), "field must be \\[N, C, H, W\\] or \\[N, C, D, H, W\\], got \\[5, 6\\]"),
        ((sample((1, 1, 5, 6)), (1.0,)), "one length per axis, 2, got 1"),
        ((sample((1, 1, 5, 6)), 0.0), "voxel_size must be positive and finite"),
        ((sample((1, 1, 5, 6)), math.inf), "voxel_size must be positive and finite"),
        (
            (sample((1, 1, 5, 6)), 1e308),
            "voxel_size must make the factors of derivatives finite in float64, got a factor of inf$",
        ),
        ((sample((1, 1, 4, 5, 6)), 1e308), "voxel_size must make the factors of derivatives finite in float64, got"),
        (
            (sample((1, 1, 5, 6), dtype=torch.float32), 1e20),
            "factors of derivatives finite in float32, got a factor of 1e\\+40$",
        ),
        (
            (sample((1, 1, 5, 6), dtype=torch.float16), 1e20),
            "factors of derivatives finite in float32, got a factor of 1e\\+40$",
        ),
        ((sample((1, 1, 5, 6)).int(),), "float16, bfloat16, float32 or float64"),
    ],
)
def test_bad_arguments_get_one_sentence(kind, args, sentence):
    name = getattr(torch.ops.medadv, OPS[kind]).__name__.removeprefix("dense_")
    with pytest.raises(ValueError, match=f"^{name}: .*{sentence}"):
        FUNCTIONS[kind](*args)


@kinds
def test_what_is_no_tensor_is_a_type_error(kind):
    with pytest.raises(TypeError, match="field must be a torch.Tensor, got list"):
        FUNCTIONS[kind]([0.0])
