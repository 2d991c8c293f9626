import itertools

import numpy as np
import pytest
import scipy.interpolate
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import splines
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
from medadv.ops import spline_field

# Relative to the largest value: a second derivative is a small difference of large numbers.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
CASES = [
    ((4, 4), (2, 2), 1.0),
    ((4, 9), (5, 40), (0.5, 2.0)),
    ((5, 7), (31, 67), 1.0),
    ((12, 13), (5, 7), 1.0),
    ((4, 4), (130, 130), 0.8),
    ((5, 6, 7), (9, 3, 23), (1.0, 3.0, 0.7)),
    ((4, 4, 4), (17, 16, 33), 1.0),
]


def orders(axes):
    return [d for d in itertools.product(range(3), repeat=axes) if sum(d) <= 2]


def sample(knots, *, dtype=torch.float64, device="cpu", seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn((2, 3, *knots), generator=g, dtype=torch.float64).to(device, dtype)


def lengths(voxel, size):
    return [voxel] * len(size) if isinstance(voxel, float) else list(voxel)


def reference(lattice, size, derivative, voxel):
    """The dense basis matrices, whose derivatives are per cell."""
    field = splines.spline_field(lattice, size, derivative)
    for n, k, d, h in zip(size, lattice.shape[2:], derivative, lengths(voxel, size), strict=True):
        if d:
            field = field * ((k - 3) / ((n - 1) * h)) ** d
    return field


def close(got, want, dtype):
    scale = want.abs().max().item() if want.numel() else 0
    torch.testing.assert_close(got.double().cpu(), want, rtol=TOLERANCE[dtype], atol=2 * scale * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("knots", "size", "voxel"), CASES, ids=str)
def test_matches_the_dense_definition(device, dtype, knots, size, voxel):
    lattice = sample(knots, dtype=dtype, device=device)
    for derivative in orders(len(size)):
        field = spline_field(lattice, size, derivative, voxel)
        assert field.dtype == dtype
        close(field, reference(lattice, size, derivative, voxel), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("knots", "size", "voxel"), CASES, ids=str)
def test_gradient_matches_the_dense_definition(device, dtype, knots, size, voxel):
    lattice = sample(knots, dtype=dtype, device=device).requires_grad_()
    (exact,) = leaves([lattice.double().cpu()])
    grad = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device, dtype)
    for derivative in orders(len(size)):
        (got,) = torch.autograd.grad(spline_field(lattice, size, derivative, voxel), lattice, grad)
        expected = torch.autograd.grad(reference(exact, size, derivative, voxel), exact, grad.double().cpu())[0]
        close(got, expected, dtype)


@pytest.mark.parametrize(("knots", "size", "voxel"), CASES, ids=str)
def test_agrees_with_scipy(knots, size, voxel):
    lattice = sample(knots)
    for derivative in orders(len(size)):
        spline = lattice[0, 0].numpy()
        for axis, (n, order, h) in enumerate(zip(size, derivative, lengths(voxel, size), strict=True)):
            nodes = np.arange(-3.0, knots[axis] + 1)  # uniform knots; the domain is [0, K - 3]
            curve = scipy.interpolate.BSpline(nodes, np.moveaxis(spline, axis, 0), 3)
            per_voxel = (knots[axis] - 3) / ((n - 1) * h)
            spline = curve(np.linspace(0, knots[axis] - 3, n), nu=order) * per_voxel**order
            spline = np.moveaxis(spline, 0, axis)
        scale = np.abs(spline).max()
        got = spline_field(lattice, size, derivative, voxel)[0, 0].numpy()
        # At a knot a second derivative changes its slope, and either side is a derivative's limit.
        np.testing.assert_allclose(got, spline, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize(("knots", "size"), [((5, 7), (9, 12)), ((4, 5, 6), (5, 6, 7))], ids=str)
def test_agrees_with_differences_of_a_finer_field(knots, size):
    lattice, parts = sample(knots), 200
    for axis in range(len(size)):
        inside = [slice(1, -1) if a == axis else slice(None) for a in range(len(size))]
        fine = [(n - 1) * parts + 1 if a == axis else n for a, n in enumerate(size)]
        field = spline_field(lattice, fine)
        at = torch.arange(1, size[axis] - 1) * parts
        below, here, above = (field.index_select(axis + 2, at + k) for k in (-1, 0, 1))
        for order, difference in ((1, (above - below) * parts / 2), (2, (above - 2 * here + below) * parts**2)):
            derivative = [order if a == axis else 0 for a in range(len(size))]
            got = spline_field(lattice, size, derivative)[(..., *inside)]
            # At a knot the third derivative jumps, and a second difference sees the mean of both sides.
            torch.testing.assert_close(got, difference, rtol=1e-3, atol=1e-2)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(2, 50), st.integers(2, 80)),
    knots=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    derivative=st.sampled_from(orders(2)),
    seed=st.integers(0, 1000),
)
def test_the_two_operators_are_adjoint(size, knots, derivative, seed):
    c, field = sample(knots, seed=seed), torch.rand(2, 3, *size, dtype=torch.float64)
    left = (spline_field(c, size, derivative) * field).sum()
    adjoint = torch.ops.medadv.spline_derivative_adjoint(field, list(knots), list(derivative), [1.0, 1.0])
    torch.testing.assert_close(left, (adjoint * c).sum(), rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), axes=st.integers(2, 3))
def test_of_a_quadratic(seed, axes):
    """Coefficients q(u) of a quadratic give the spline q(u) + constant, with u in cells."""
    g = torch.Generator().manual_seed(seed)
    knots = torch.randint(4, 9, (axes,), generator=g).tolist()
    size = torch.randint(2, 30, (axes,), generator=g).tolist()
    matrix = torch.randn(axes, axes, generator=g, dtype=torch.float64)
    hessian = matrix + matrix.T
    u = torch.stack(torch.meshgrid(*[torch.arange(k).double() - 1 for k in knots], indexing="ij"))
    lattice = 0.5 * (torch.tensordot(hessian, u, 1) * u).sum(0)[None, None]
    per_voxel = torch.tensor([(k - 3) / (n - 1) for k, n in zip(knots, size, strict=True)], dtype=torch.float64)
    positions = [torch.arange(n).double() * w for n, w in zip(size, per_voxel.tolist(), strict=True)]
    gradient = torch.tensordot(hessian, torch.stack(torch.meshgrid(*positions, indexing="ij")), 1)
    for p in range(axes):
        first = [int(a == p) for a in range(axes)]
        torch.testing.assert_close(spline_field(lattice, size, first)[0, 0], gradient[p] * per_voxel[p])
        for q in range(axes):
            second = [int(a == p) + int(a == q) for a in range(axes)]
            expected = (hessian[p, q] * per_voxel[p] * per_voxel[q]).expand(size)
            torch.testing.assert_close(spline_field(lattice, size, second)[0, 0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("knots", "size"), [((5, 7), (31, 67)), ((5, 6, 7), (9, 2, 23))], ids=str)
def test_matches_the_voxel_by_voxel_definition(knots, size):
    lattice = sample(knots)
    h = [0.5, 2.0, 1.5][: len(size)]
    for derivative in orders(len(size)):
        field = spline_field(lattice, size, derivative, h)
        expected = definitions.spline_derivative(lattice[0, 0].numpy(), size, derivative, h)
        np.testing.assert_allclose(field[0, 0].numpy(), expected, rtol=1e-11, atol=1e-11)
        adjoint = torch.ops.medadv.spline_derivative_adjoint(field, list(knots), list(derivative), h)
        expected = definitions.spline_derivative_adjoint(field[0, 0].numpy(), knots, derivative, h)
        np.testing.assert_allclose(adjoint[0, 0].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_order_zero_is_the_field_to_the_bit(device):
    lattice = sample((5, 7), dtype=torch.float32, device=device)
    assert torch.equal(spline_field(lattice, (31, 67), (0, 0)), spline_field(lattice, (31, 67)))


def test_derivatives_of_any_order(device):
    lattice = sample((4, 5), device=device)
    field, adjoint = spline_field(lattice, (3, 6)), torch.ops.medadv.spline_derivative_adjoint
    for derivative in ([0, 1], [1, 1], [2, 0]):
        check_gradients(lambda c, d=derivative: spline_field(c, (3, 6), d, 0.7), [lattice])
        check_gradients(lambda f, d=derivative: adjoint(f, [4, 5], d, [1.0, 2.0]), [field])


def test_registration(device):
    lattice = sample((4, 5), device=device)
    settings = [1, 0], [1.0, 0.5]
    check_registration(torch.ops.medadv.spline_derivative.default, (lattice, [6, 7], *settings))
    check_registration(
        torch.ops.medadv.spline_derivative_adjoint.default, (spline_field(lattice, (6, 7)), [4, 5], *settings)
    )


def test_layouts_compile_and_batching(device):
    lattice = sample((5, 6), device=device)
    check_layouts(lambda c: spline_field(c, (9, 11), (1, 1)), [lattice])
    check_compiles(lambda c: spline_field(c, (9, 11), (0, 2)), [lattice])
    check_batching(lambda c: spline_field(c, (9, 11), (0, 1)), [lattice])


def test_autocast_computes_in_float32(device):
    lattice = sample((4, 4), dtype=torch.bfloat16, device=device)
    with torch.autocast(device, torch.bfloat16):
        assert spline_field(lattice, (5, 5), (0, 1)).dtype == torch.float32


def test_same_bits_for_any_number_of_threads():
    (lattice,) = leaves([sample((9, 11), dtype=torch.float32)])

    def run():
        field = spline_field(lattice, (170, 190), (1, 0))
        return torch.cat([field.detach().flatten(), torch.autograd.grad(field.sum(), lattice)[0].flatten()])

    one, two, three = bits_for_threads(run, (1, 2, 3))
    assert torch.equal(one, two)
    assert torch.equal(one, three)


@pytest.mark.parametrize(("shape", "size"), [((0, 1, 4, 4), (5, 5)), ((1, 0, 4, 4), (5, 5)), ((1, 1, 4, 4), (0, 5))])
def test_empty(device, shape, size):
    lattice = torch.zeros(shape, device=device, requires_grad=True)
    field = spline_field(lattice, size, (0, 1))
    assert field.shape == (*shape[:2], *size)
    assert torch.autograd.grad(field.sum(), lattice)[0].shape == shape


@pytest.mark.parametrize(
    ("size", "derivative", "voxel", "sentence"),
    [
        ((5, 5), (1,), 1.0, "derivative must have one order per axis, 2, got \\[1\\]"),
        ((5, 5), (-1, 1), 1.0, "derivative must be of order 0 to 2, got \\[-1, 1\\]"),
        ((5, 5), (0, 3), 1.0, "derivative must be of order 0 to 2, got \\[0, 3\\]"),
        ((5, 5), (2, 1), 1.0, "derivative must be of order 0 to 2 in all, got \\[2, 1\\]"),
        ((5, 1), (0, 1), 1.0, "size must be at least 2 along an axis of the derivative, got \\[5, 1\\]"),
        ((5, 5), (0, 1), (1.0,), "voxel_size must have one length per axis, 2, got 1"),
        ((5, 5), (0, 1), 0.0, "voxel_size must be positive"),
        (
            (5, 5),
            (0, 1),
            5e-324,
            "voxel_size must make the factors of derivatives finite in float64, got a factor of inf$",
        ),
        (
            (5, 5),
            (2, 0),
            1e-160,
            "voxel_size must make the factors of derivatives finite in float64, got a factor of inf$",
        ),
        (
            (5, 5),
            (1, 1),
            1e-160,
            "voxel_size must make the factors of derivatives finite in float64, got a factor of inf$",
        ),
        ((5, 5, 5), (0, 1, 0), 1.0, "lattice must be \\[N, K, Gz, Gy, Gx\\]"),
    ],
)
def test_bad_arguments_get_one_sentence(size, derivative, voxel, sentence):
    with pytest.raises(ValueError, match=f"^spline_field: .*{sentence}"):
        spline_field(sample((4, 4)), size, derivative, voxel)


def test_factors_of_derivatives_are_finite_in_the_type_of_the_lattice():
    lattice, lengths_of_a_voxel = sample((4, 4)), (1e-40, 1e40)
    assert spline_field(lattice, (5, 5), (1, 1), lengths_of_a_voxel).isfinite().all()
    with pytest.raises(ValueError, match="finite in float32, got a factor of 2.5e\\+39$"):
        spline_field(lattice.float(), (5, 5), (1, 1), lengths_of_a_voxel)
