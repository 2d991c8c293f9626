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

TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
CASES = [
    ((4, 4), (1, 1)),
    ((4, 9), (1, 40)),
    ((9, 4), (40, 1)),
    ((5, 7), (31, 67)),
    ((12, 13), (5, 7)),
    ((4, 4), (130, 130)),
    ((5, 6, 7), (9, 1, 23)),
    ((4, 4, 4), (17, 16, 33)),
]


def sample(knots, *, dtype=torch.float64, device="cpu", seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn((2, 3, *knots), generator=g, dtype=torch.float64).to(device, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("knots", "size"), CASES, ids=str)
def test_matches_the_dense_definition(device, dtype, knots, size):
    lattice = sample(knots, dtype=dtype, device=device)
    field = spline_field(lattice, size)
    assert field.dtype == dtype
    tolerance = TOLERANCE[dtype]
    expected = splines.spline_field(lattice, size)
    torch.testing.assert_close(field.double().cpu(), expected, rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize(("knots", "size"), [c for c in CASES if len(c[0]) == 2 and min(c[1]) > 1], ids=str)
def test_agrees_with_scipy(knots, size):
    lattice = sample(knots)
    spline = lattice[0, 0].numpy()
    for axis, n in enumerate(size):
        nodes = np.arange(-3.0, knots[axis] + 1)  # uniform knots; the domain is [0, K - 3]
        u = np.linspace(0, knots[axis] - 3, n)
        spline = scipy.interpolate.BSpline(nodes, np.moveaxis(spline, axis, 0), 3)(u)
        spline = np.moveaxis(spline, 0, axis)
    np.testing.assert_allclose(spline_field(lattice, size)[0, 0].numpy(), spline, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("knots", "size"), CASES, ids=str)
def test_gradient_matches_the_dense_definition(device, dtype, knots, size):
    lattice = sample(knots, dtype=dtype, device=device).requires_grad_()
    grad = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device, dtype)
    (got,) = torch.autograd.grad(spline_field(lattice, size), lattice, grad)
    (exact,) = leaves([lattice.double().cpu()])
    (expected,) = torch.autograd.grad(splines.spline_field(exact, size), exact, grad.double().cpu())
    tolerance = 2 * TOLERANCE[dtype]
    torch.testing.assert_close(got.double().cpu(), expected, rtol=tolerance, atol=tolerance * 1e-3)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 50), st.integers(1, 80)),
    knots=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    seed=st.integers(0, 1000),
)
def test_the_two_operators_are_adjoint(size, knots, seed):
    c, field = sample(knots, seed=seed), torch.rand(2, 3, *size, dtype=torch.float64)
    left = (spline_field(c, size) * field).sum()
    right = (torch.ops.medadv.spline_field_adjoint(field, list(knots)) * c).sum()
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("knots", "size"), [((5, 7), (31, 67)), ((5, 6, 7), (9, 1, 23))], ids=str)
def test_matches_the_voxel_by_voxel_definition(knots, size):
    lattice = sample(knots)
    field = spline_field(lattice, size)
    reference = definitions.spline_field(lattice[0, 0].numpy(), list(size))
    np.testing.assert_allclose(field[0, 0].numpy(), reference, rtol=1e-13, atol=1e-13)
    adjoint = torch.ops.medadv.spline_field_adjoint(field, list(knots))
    reference = definitions.spline_field_adjoint(field[0, 0].numpy(), list(knots))
    np.testing.assert_allclose(adjoint[0, 0].numpy(), reference, rtol=1e-11, atol=1e-11)


def test_derivatives_of_any_order(device):
    lattice = sample((4, 5), device=device)
    check_gradients(lambda c: spline_field(c, (3, 6)), [lattice])
    check_gradients(lambda d: torch.ops.medadv.spline_field_adjoint(d, [4, 5]), [spline_field(lattice, (3, 6))])


def test_registration(device):
    lattice = sample((4, 5), device=device)
    check_registration(torch.ops.medadv.spline_field.default, (lattice, [6, 7]))
    check_registration(torch.ops.medadv.spline_field_adjoint.default, (spline_field(lattice, (6, 7)), [4, 5]))


def test_layouts(device):
    check_layouts(lambda c: spline_field(c, (9, 11)), [sample((5, 6), device=device)])


def test_compiles(device):
    check_compiles(lambda c: spline_field(c, (9, 11)), [sample((5, 6), device=device)])


def test_batching(device):
    check_batching(lambda c: spline_field(c, (9, 11)), [sample((5, 6), device=device)])


def test_autocast_computes_in_float32(device):
    with torch.autocast(device, torch.bfloat16):
        assert spline_field(sample((4, 4), dtype=torch.bfloat16, device=device), (5, 5)).dtype == torch.float32


def test_same_bits_for_any_number_of_threads():
    (lattice,) = leaves([sample((9, 11), dtype=torch.float32)])

    def run():
        field = spline_field(lattice, (170, 190))
        return torch.cat([field.detach().flatten(), torch.autograd.grad(field.sum(), lattice)[0].flatten()])

    one, two = bits_for_threads(run)
    assert torch.equal(one, two)


@pytest.mark.parametrize(("shape", "size"), [((0, 1, 4, 4), (5, 5)), ((1, 0, 4, 4), (5, 5)), ((1, 1, 4, 4), (0, 5))])
def test_empty(device, shape, size):
    lattice = torch.zeros(shape, device=device, requires_grad=True)
    field = spline_field(lattice, size)
    assert field.shape == (*shape[:2], *size)
    assert torch.autograd.grad(field.sum(), lattice)[0].shape == shape


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((sample((4, 4)), (5,)), "size must be \\[H, W\\] or \\[D, H, W\\], got \\[5\\]"),
        ((sample((4, 4)), (5, 5, 5)), "lattice must be \\[N, K, Gz, Gy, Gx\\]"),
        ((sample((4, 4)), (5, -1)), "not be negative"),
        ((sample((4, 4))[..., :3], (5, 5)), "at least 4 control points"),
        ((sample((4, 4)).long(), (5, 5)), "float16, bfloat16, float32 or float64"),
    ],
)
def test_bad_arguments_get_one_sentence(args, sentence):
    with pytest.raises(ValueError, match=f"^spline_field: .*{sentence}"):
        spline_field(*args)


def test_what_is_no_tensor_is_a_type_error():
    with pytest.raises(TypeError, match="lattice must be a torch.Tensor, got list"):
        spline_field([[0.0]], (4, 4))
