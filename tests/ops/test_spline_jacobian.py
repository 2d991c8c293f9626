"""jacobian_determinant and folding_penalty of a B-spline lattice."""

import math

import numpy as np
import pytest
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
from medadv.ops import folding_penalty, jacobian_determinant, spline_field

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
# Strips of one to four rows, bands with a rest, rows that are no whole packs, lattices finer than the image.
CASES = [
    ((4, 4), (2, 2), 1.0),
    ((4, 9), (5, 40), (0.5, 2.0)),
    ((5, 7), (31, 67), 1.0),
    ((12, 13), (5, 7), 1.0),
    ((9, 5), (200, 133), (1.5, 0.8)),
    ((4, 4, 4), (2, 3, 2), 1.0),
    ((5, 6, 7), (9, 4, 23), (1.0, 3.0, 0.7)),
    ((4, 5, 4), (6, 37, 18), 1.0),
]


def sample(knots, *, n=2, dtype=torch.float64, device="cpu", seed=0, amplitude=None, size=None):
    """Displacements that fold here and there: about as long as control points are apart."""
    g = torch.Generator().manual_seed(seed)
    if amplitude is None:
        amplitude = min((s - 1) / (k - 3) for s, k in zip(size, knots, strict=True)) if size else 1.0
    c = torch.randn((n, len(knots), *knots), generator=g, dtype=torch.float64) * amplitude
    return c.to(device, dtype)


def lengths(voxel, axes):
    return [voxel] * axes if isinstance(voxel, float) else list(voxel)


def determinant(lattice, size, voxel=1.0):
    """torch.linalg.det of the matrix of exact derivatives, in float64."""
    axes, knots = len(size), lattice.shape[2:]
    columns = []
    for a, h in enumerate(lengths(voxel, axes)):
        slope = splines.spline_field(lattice, size, [int(b == a) for b in range(axes)])
        columns.append(slope * (knots[a] - 3) / ((size[a] - 1) * h))
    matrix = torch.stack(columns, -1).movedim(1, -2)  # [N, *S, component, axis]
    return torch.linalg.det(matrix + torch.eye(axes, dtype=torch.float64))


def penalty(lattice, size, voxel=1.0, threshold=0.01):
    return (threshold - determinant(lattice, size, voxel)).clamp(min=0).square().flatten(1).mean(1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("knots", "size", "voxel"), CASES, ids=str)
def test_determinant_is_that_of_the_matrix(device, dtype, knots, size, voxel):
    lattice = sample(knots, size=size, dtype=dtype, device=device)
    out = jacobian_determinant(lattice, size, voxel)
    assert out.dtype == dtype
    expected = determinant(lattice, size, voxel)
    scale = expected.abs().max().item()
    torch.testing.assert_close(out.double().cpu(), expected, rtol=0, atol=scale * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("knots", "size", "voxel"), CASES, ids=str)
def test_gradient_of_the_determinant(device, dtype, knots, size, voxel):
    lattice = sample(knots, size=size, dtype=dtype, device=device).requires_grad_()
    (exact,) = leaves([lattice.double().cpu()])
    grad = torch.randn((2, *size), generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device, dtype)
    (got,) = torch.autograd.grad(jacobian_determinant(lattice, size, voxel), lattice, grad)
    (expected,) = torch.autograd.grad(determinant(exact, size, voxel), exact, grad.double().cpu())
    assert got.dtype == dtype
    scale = expected.abs().max().item()
    torch.testing.assert_close(got.double().cpu(), expected, rtol=0, atol=2 * scale * TOLERANCE[dtype])


@pytest.mark.parametrize("threshold", [0.01, 0.5, -0.3])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("knots", "size", "voxel"), CASES, ids=str)
def test_penalty_and_its_gradient(device, dtype, knots, size, voxel, threshold):
    lattice = sample(knots, size=size, dtype=dtype, device=device).requires_grad_()
    (exact,) = leaves([lattice.double().cpu()])
    value, expected = folding_penalty(lattice, size, voxel, threshold), penalty(exact, size, voxel, threshold)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 5e-5
    torch.testing.assert_close(value.double().cpu(), expected, rtol=tolerance, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(folding_penalty(lattice, size, voxel, threshold), value)
    cotangent = torch.linspace(1.0, 2.0, 2, dtype=torch.float64)
    (got,) = torch.autograd.grad(value, lattice, cotangent.to(value))
    (want,) = torch.autograd.grad(expected, exact, cotangent)
    assert got.dtype == dtype
    scale = want.abs().max().item()
    torch.testing.assert_close(got.double().cpu(), want, rtol=0, atol=scale * max(TOLERANCE[dtype], 1e-11))


@pytest.mark.parametrize(("knots", "size", "voxel"), [CASES[1], CASES[6]], ids=str)
def test_matches_the_voxel_by_voxel_definition(knots, size, voxel):
    lattice, h = sample(knots, n=1, size=size), lengths(voxel, len(size))
    grad = torch.randn((1, *size), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    c = lattice[0].numpy()
    np.testing.assert_allclose(
        jacobian_determinant(lattice, size, voxel)[0].numpy(),
        definitions.spline_jacobian_determinant(c, size, h),
        rtol=1e-10,
        atol=1e-10,
    )
    np.testing.assert_allclose(
        torch.ops.medadv.spline_jacobian_determinant_backward(grad, lattice, h)[0].numpy(),
        definitions.spline_jacobian_determinant_backward(grad[0].numpy(), c, h),
        rtol=1e-10,
        atol=1e-10,
    )
    value, gradient = definitions.spline_folding_penalty(c, size, h, 0.3)
    (u,) = leaves([lattice])
    got = folding_penalty(u, size, voxel, 0.3)
    np.testing.assert_allclose(got.item(), value, rtol=1e-11)
    np.testing.assert_allclose(torch.autograd.grad(got.sum(), u)[0][0].numpy(), gradient, rtol=1e-9, atol=1e-11)


@given(seed=st.integers(0, 10_000), axes=st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_an_affine_map_has_one_determinant(seed, axes):
    g = torch.Generator().manual_seed(seed)
    size = torch.randint(2, 40, (axes,), generator=g).tolist()
    knots = torch.randint(4, 9, (axes,), generator=g).tolist()
    h = (torch.rand(axes, generator=g, dtype=torch.float64) + 0.5).tolist()
    matrix = torch.randn(axes, axes, generator=g, dtype=torch.float64)
    cells = [v * (n - 1) / (k - 3) for v, n, k in zip(h, size, knots, strict=True)]
    positions = [torch.arange(-1, k - 1).double() * w for k, w in zip(knots, cells, strict=True)]
    grid = torch.stack(torch.meshgrid(*positions, indexing="ij"))
    lattice = torch.tensordot(matrix - torch.eye(axes), grid, 1)[None]
    expected = torch.linalg.det(matrix).expand(1, *size)
    torch.testing.assert_close(jacobian_determinant(lattice, size, h), expected, rtol=1e-8, atol=1e-8)
    lack = (0.1 - torch.linalg.det(matrix)).clamp(min=0)
    torch.testing.assert_close(folding_penalty(lattice, size, h, 0.1)[0], lack**2, rtol=1e-8, atol=1e-8)


def test_approaches_that_of_the_dense_field():
    lattice = sample((5, 6), amplitude=0.3)
    errors = []
    for parts in (8, 16, 32):  # the same deformation, sampled ever finer
        size = (2 * parts + 1, 3 * parts + 1)
        dense = jacobian_determinant(spline_field(lattice, size), voxel_size=1 / parts)
        exact = jacobian_determinant(lattice, size, 1 / parts)
        errors.append((dense - exact[:, :-1, :-1]).abs().max().item())
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]


def test_no_penalty_and_no_gradient_where_nothing_folds(device):
    lattice = sample((6, 7, 8), device=device, amplitude=0.02).requires_grad_()
    value = folding_penalty(lattice, (12, 13, 14))
    assert not value.any()
    assert not torch.autograd.grad(value.sum(), lattice)[0].any()


@pytest.mark.parametrize(("knots", "size"), [((9, 8), (200, 90)), ((5, 8, 6), (9, 80, 70))], ids=str)
def test_one_fold_is_not_overlooked(device, knots, size):
    """Only a few voxels have a force: strips and blocks without are skipped, those with are not."""
    lattice = torch.zeros(1, len(knots), *knots, dtype=torch.float64, device=device)
    middle = [k // 2 for k in knots]
    cell = (size[-1] - 1) / (knots[-1] - 3)
    lattice[(0, -1, *middle)] = 4.0 * cell
    (u,), (exact,) = leaves([lattice]), leaves([lattice.cpu()])
    value, expected = folding_penalty(u, size), penalty(exact, size)
    assert 0 < (determinant(lattice, size) < 0.01).double().mean() < 0.2
    torch.testing.assert_close(value.cpu(), expected, rtol=1e-12, atol=0)
    got, want = torch.autograd.grad(value.sum(), u)[0], torch.autograd.grad(expected.sum(), exact)[0]
    torch.testing.assert_close(got.cpu(), want, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("knots", "size"), [((4, 5), (3, 6)), ((4, 4, 4), (3, 2, 4))], ids=str)
def test_first_and_second_derivatives(device, knots, size):
    lattice = sample(knots, n=1, size=size, device=device)
    h = [0.7, 1.5, 1.2][: len(size)]
    check_gradients(lambda c: jacobian_determinant(c, size, h), [lattice])
    check_gradients(lambda c: folding_penalty(c, size, h, 0.4), [lattice])
    check_gradients(lambda c: torch.ops.medadv.spline_folding_penalty(c, list(size), h, 0.4), [lattice])


@pytest.mark.parametrize(("knots", "size"), [((4, 5), (5, 6)), ((4, 4, 5), (3, 4, 3))], ids=str)
def test_third_derivative(device, knots, size):
    lattice = sample(knots, size=size, device=device)

    def third(function):
        (x,) = leaves([lattice])
        value = function(x, size).pow(2).sum()
        for _ in range(3):
            (value,) = (g.pow(2).sum() for g in torch.autograd.grad(value, [x], create_graph=True))
        return value.cpu()

    torch.testing.assert_close(third(jacobian_determinant), third(determinant), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(third(folding_penalty), third(penalty), rtol=1e-7, atol=1e-7)


def test_voxels_are_summed_in_float64(device):
    """All squares are the same float32 number; a sum of so many in float32 would lose its last digits."""
    short = torch.tensor(2.1) - 1
    penalty = folding_penalty(torch.zeros(1, 2, 4, 4, device=device), (2, 8000), threshold=2.1)
    assert penalty.item() == pytest.approx((short * short).item(), rel=1e-12)


@pytest.mark.parametrize(("knots", "size"), [((9, 11), (197, 230)), ((5, 6, 7), (20, 50, 61))], ids=str)
def test_same_bits_for_any_number_of_threads(knots, size):
    (lattice,) = leaves([sample(knots, size=size, dtype=torch.float32)])

    def run():
        value, det = folding_penalty(lattice, size), jacobian_determinant(lattice, size)
        return [value.detach(), det.detach(), *torch.autograd.grad(value.sum() + det.sum(), lattice)]

    one, two, three = bits_for_threads(run, (1, 2, 3))
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_an_example_does_not_depend_on_its_batch(device):
    lattice = sample((6, 7), n=4, size=(60, 70), dtype=torch.float32, device=device)
    whole, values = jacobian_determinant(lattice, (60, 70)), folding_penalty(lattice, (60, 70))
    for i in range(4):
        assert torch.equal(jacobian_determinant(lattice[i : i + 1], (60, 70))[0], whole[i])
        assert torch.equal(folding_penalty(lattice[i : i + 1], (60, 70))[0], values[i])


def test_registration(device):
    ops = torch.ops.medadv
    lattice, h = sample((4, 5), device=device), [1.0, 0.5]
    grad = torch.rand(2, 6, 7, dtype=torch.float64, device=device)
    check_registration(ops.spline_jacobian_determinant.default, (lattice, [6, 7], h))
    check_registration(ops.spline_jacobian_determinant_backward.default, (grad, lattice, h))
    check_registration(ops.spline_folding_penalty.default, (lattice, [6, 7], h, 0.2))
    check_registration(ops.spline_folding_penalty_gradient.default, (lattice, [6, 7], h, 0.2))
    half = lattice.to(torch.bfloat16)
    check_registration(ops.spline_folding_penalty_gradient.default, (half, [6, 7], h, 0.2))


@pytest.mark.parametrize("function", [jacobian_determinant, folding_penalty])
def test_layouts_compile_and_batching(device, function):
    lattice = sample((5, 6), device=device, size=(9, 11))
    check_layouts(lambda c: function(c, (9, 11)), [lattice])
    check_compiles(lambda c: function(c, (9, 11)), [lattice])
    check_batching(lambda c: function(c, (9, 11)), [lattice])


def test_gradients_through_vmap(device):
    (lattice,) = leaves([torch.stack([sample((5, 6), device=device, size=(9, 11), seed=i) for i in range(3)])])
    batched = torch.vmap(lambda c: folding_penalty(c, (9, 11)))(lattice)
    alone = torch.stack([folding_penalty(c, (9, 11)) for c in lattice])
    torch.testing.assert_close(batched, alone)
    got, want = (torch.autograd.grad(value.sum(), lattice)[0] for value in (batched, alone))
    torch.testing.assert_close(got, want)


def test_autocast_computes_in_float32(device):
    lattice = sample((4, 5), dtype=torch.bfloat16, device=device)
    with torch.autocast(device, torch.bfloat16):
        assert jacobian_determinant(lattice, (5, 6)).dtype == torch.float32
        assert folding_penalty(lattice, (5, 6)).dtype == torch.float32


def test_the_gradient_of_a_mean_over_many_voxels_survives_float16(device):
    lattice = sample((5, 5), size=(512, 512), dtype=torch.float16, device=device).requires_grad_()
    (exact,) = leaves([lattice.double().cpu()])
    (got,) = torch.autograd.grad(folding_penalty(lattice, (512, 512)).sum() * 2.0**14, lattice)
    (want,) = torch.autograd.grad(penalty(exact, (512, 512)).sum() * 2.0**14, exact)
    torch.testing.assert_close(got.double().cpu(), want, rtol=1e-2, atol=1e-3 * want.abs().max().item())


def test_no_examples(device):
    lattice = torch.zeros(0, 2, 4, 4, device=device, requires_grad=True)
    det, value = jacobian_determinant(lattice, (5, 6)), folding_penalty(lattice, (5, 6))
    assert det.shape == (0, 5, 6)
    assert value.shape == (0,)
    assert torch.autograd.grad(det.sum() + value.sum(), lattice)[0].shape == lattice.shape


def test_what_is_not_finite_is_not_hidden(device):
    lattice = sample((5, 8), dtype=torch.float32, device=device, amplitude=0.01)
    lattice[0, 0, 2, 3] = math.nan
    lattice.requires_grad_()
    value = folding_penalty(lattice, (20, 60))
    assert value[0].isnan()
    assert value[1] == 0
    assert torch.autograd.grad(value.sum(), lattice)[0][0].isnan().any()


@pytest.mark.parametrize("function", [jacobian_determinant, folding_penalty])
@pytest.mark.parametrize(
    ("lattice", "size", "voxel", "sentence"),
    [
        (sample((4, 4)), (5,), 1.0, "size must be \\[H, W\\] or \\[D, H, W\\], got \\[5\\]"),
        (sample((4, 4)), (5, 5, 5), 1.0, "displacement must be \\[N, K, Gz, Gy, Gx\\]"),
        (sample((4, 4))[:, :1], (5, 5), 1.0, "displacement must have one component per axis of the image, 2, got 1"),
        (sample((4, 4)), (5, 1), 1.0, "size must be at least 2 along every axis, got \\[5, 1\\]"),
        (sample((4, 4)), (5, 0), 1.0, "size must be at least 2 along every axis, got \\[5, 0\\]"),
        (sample((4, 4))[..., :3], (5, 5), 1.0, "displacement must have at least 4 control points"),
        (sample((4, 4)), (5, 5), (1.0,), "voxel_size must have one length per axis, 2, got 1"),
        (sample((4, 4)), (5, 5), -1.0, "voxel_size must be positive"),
        (sample((4, 4)), (5, 5), (1.0, 5e-324), "voxel_size must make the factors of derivatives finite in float64"),
        (sample((4, 4)).float(), (5, 5), 1e-40, "factors of derivatives finite in float32, got a factor of 2.5e\\+39$"),
        (sample((4, 4)).int(), (5, 5), 1.0, "displacement must be float16, bfloat16, float32 or float64"),
    ],
)
def test_bad_arguments_get_one_sentence(function, lattice, size, voxel, sentence):
    with pytest.raises(ValueError, match=f"^{function.__name__}: .*{sentence}"):
        function(lattice, size, voxel)


def test_a_threshold_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="^folding_penalty: threshold must be finite"):
        folding_penalty(sample((4, 4)), (5, 5), threshold=math.inf)


@pytest.mark.parametrize("function", [jacobian_determinant, folding_penalty])
def test_wrong_types(function):
    with pytest.raises(TypeError, match="displacement must be a torch.Tensor, got list"):
        function([0.0], (4, 4))
    with pytest.raises(TypeError, match="size must be whole numbers, one per axis, got 1.0"):
        function(sample((4, 4)), 1.0)
