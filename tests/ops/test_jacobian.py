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
from medadv.ops import folding_penalty, jacobian_determinant

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
# Rows that are no whole packs, one cell, bands of rows with a rest.
CASES = [
    ((2, 2, 2, 2), 1.0),
    ((1, 2, 5, 17), (0.5, 2.0)),
    ((2, 2, 2, 34), 1.0),
    ((1, 2, 200, 33), (1.5, 0.8)),
    ((1, 3, 2, 2, 2), 1.0),
    ((2, 3, 4, 5, 6), (2.0, 1.0, 0.7)),
    ((1, 3, 7, 37, 18), 1.0),
]


def sample(shape, *, dtype=torch.float64, device="cpu", seed=0, amplitude=0.6):
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=g, dtype=torch.float64) * amplitude).to(device, dtype)


def lengths(voxel, shape):
    return [voxel] * (len(shape) - 2) if isinstance(voxel, float) else list(voxel)


def determinant(displacement, voxel=1.0):
    """torch.linalg.det of the matrix of forward differences, in float64."""
    u = displacement.double().cpu()
    axes = u.dim() - 2
    cells = [slice(0, n - 1) for n in u.shape[2:]]
    rows = []
    for c in range(axes):
        slopes = []
        for a, h in enumerate(lengths(voxel, u.shape)):
            ahead = [slice(1, None) if b == a else s for b, s in enumerate(cells)]
            slopes.append((u[(slice(None), c, *ahead)] - u[(slice(None), c, *cells)]) / h + (a == c))
        rows.append(torch.stack(slopes, -1))
    return torch.linalg.det(torch.stack(rows, -2))


def penalty(displacement, voxel=1.0, threshold=0.01):
    return (threshold - determinant(displacement, voxel)).clamp(min=0).square().flatten(1).mean(1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "voxel"), CASES, ids=str)
def test_determinant_is_that_of_the_matrix(device, dtype, shape, voxel):
    u = sample(shape, dtype=dtype, device=device)
    out = jacobian_determinant(u, voxel_size=voxel)
    assert out.dtype == dtype
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(out.double().cpu(), determinant(u, voxel), rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "voxel"), CASES, ids=str)
def test_gradient_of_the_determinant(device, dtype, shape, voxel):
    u = sample(shape, dtype=dtype, device=device).requires_grad_()
    exact = u.detach().double().cpu().requires_grad_()
    grad = sample([shape[0], *[n - 1 for n in shape[2:]]], dtype=dtype, device=device, seed=1)
    (got,) = torch.autograd.grad(jacobian_determinant(u, voxel_size=voxel), u, grad)
    (expected,) = torch.autograd.grad(determinant(exact, voxel), exact, grad.double().cpu())
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(got.double().cpu(), expected, rtol=tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("threshold", [0.01, 0.5, -0.3])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "voxel"), CASES, ids=str)
def test_penalty_and_its_gradient(device, dtype, shape, voxel, threshold):
    u = sample(shape, dtype=dtype, device=device).requires_grad_()
    exact = u.detach().double().cpu().requires_grad_()
    value, expected = folding_penalty(u, voxel_size=voxel, threshold=threshold), penalty(exact, voxel, threshold)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(value.double().cpu(), expected, rtol=tolerance, atol=tolerance)
    cotangent = torch.linspace(1.0, 2.0, shape[0], dtype=torch.float64)
    (got,) = torch.autograd.grad(value, u, cotangent.to(value))
    (want,) = torch.autograd.grad(expected, exact, cotangent)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(got.double().cpu(), want, rtol=tolerance, atol=tolerance * want.abs().max().item())


@pytest.mark.parametrize(("shape", "voxel"), [CASES[1], CASES[5]], ids=str)
def test_matches_the_cell_by_cell_definition(shape, voxel):
    u = sample(shape)[:1]
    h = lengths(voxel, shape)
    grad = sample([1, *[n - 1 for n in shape[2:]]], seed=1)
    np.testing.assert_allclose(
        jacobian_determinant(u, voxel_size=voxel)[0].numpy(),
        definitions.jacobian_determinant(u[0].numpy(), h),
        rtol=1e-12,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        torch.ops.medadv.jacobian_determinant_backward(grad, u, h)[0].numpy(),
        definitions.jacobian_determinant_backward(grad[0].numpy(), u[0].numpy(), h),
        rtol=1e-11,
        atol=1e-12,
    )
    value, gradient = definitions.folding_penalty(u[0].numpy(), h, 0.3)
    (u,) = leaves([u])
    got = folding_penalty(u, voxel_size=voxel, threshold=0.3)
    np.testing.assert_allclose(got.item(), value, rtol=1e-12)
    np.testing.assert_allclose(torch.autograd.grad(got.sum(), u)[0][0].numpy(), gradient, rtol=1e-11, atol=1e-12)


@given(seed=st.integers(0, 10_000), axes=st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_an_affine_map_has_one_determinant(seed, axes):
    g = torch.Generator().manual_seed(seed)
    size = [int(torch.randint(2, 7, (), generator=g)) for _ in range(axes)]
    h = (torch.rand(axes, generator=g, dtype=torch.float64) + 0.5).tolist()
    matrix = torch.randn(axes, axes, generator=g, dtype=torch.float64)
    grid = torch.stack(
        torch.meshgrid(*[torch.arange(n).double() * v for n, v in zip(size, h, strict=True)], indexing="ij")
    )
    u = (torch.tensordot(matrix - torch.eye(axes), grid, 1))[None]
    expected = torch.linalg.det(matrix).expand(1, *[n - 1 for n in size])
    torch.testing.assert_close(jacobian_determinant(u, voxel_size=h), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        folding_penalty(u, voxel_size=h, threshold=0.1)[0],
        (0.1 - expected[(0,) * (axes + 1)]).clamp(min=0) ** 2,
        rtol=1e-9,
        atol=1e-9,
    )


def test_no_penalty_and_no_gradient_where_nothing_folds(device):
    u = sample((2, 3, 6, 7, 8), device=device, amplitude=0.02).requires_grad_()
    value = folding_penalty(u)
    assert not value.any()
    assert not torch.autograd.grad(value.sum(), u)[0].any()


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (1, 3, 3, 2, 3)], ids=str)
def test_first_and_second_derivatives(device, shape):
    u = sample(shape, device=device)
    h = [0.7, 1.5, 1.2][: len(shape) - 2]
    check_gradients(lambda u: jacobian_determinant(u, voxel_size=h), [u])
    check_gradients(lambda u: folding_penalty(u, voxel_size=h, threshold=0.4), [u])


@pytest.mark.parametrize("shape", [(1, 2, 4, 5), (1, 3, 3, 4, 3)], ids=str)
def test_third_derivative(device, shape):
    u = sample(shape, device=device)

    def third(function):
        (x,) = leaves([u])
        value = function(x).pow(2).sum()
        for _ in range(3):
            (value,) = (g.pow(2).sum() for g in torch.autograd.grad(value, [x], create_graph=True))
        return value.cpu()

    torch.testing.assert_close(third(jacobian_determinant), third(determinant))
    torch.testing.assert_close(third(folding_penalty), third(penalty))


def test_cells_are_summed_in_float64(device):
    """All squares are the same float32 number; a sum of so many in float32 would lose its last digits."""
    short = torch.tensor(2.1) - 1
    penalty = folding_penalty(torch.zeros(1, 2, 41, 8001, device=device), threshold=2.1)
    assert penalty.item() == pytest.approx((short * short).item(), rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 2, 197, 130), (1, 3, 20, 50, 61)], ids=str)
def test_same_bits_for_any_number_of_threads(shape):
    (u,) = leaves([sample(shape, dtype=torch.float32)])

    def run():
        value, det = folding_penalty(u), jacobian_determinant(u)
        return [value.detach(), det.detach(), *torch.autograd.grad(value.sum() + det.sum(), u)]

    one, two, three = bits_for_threads(run, (1, 2, 3))
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_registration(device):
    ops = torch.ops.medadv
    u, h = sample((2, 2, 4, 5), device=device), [1.0, 0.5]
    grad = sample((2, 3, 4), device=device, seed=1)
    check_registration(ops.jacobian_determinant.default, (u, h))
    check_registration(ops.jacobian_determinant_backward.default, (grad, u, h))
    check_registration(ops.folding_penalty.default, (u, h, 0.2))
    scale = torch.tensor([1.0, 2.0], dtype=torch.float64, device=device)
    check_registration(ops.folding_penalty_backward.default, (scale, u, h, 0.2))


@pytest.mark.parametrize("function", [jacobian_determinant, folding_penalty])
def test_layouts_compile_and_batching(device, function):
    u = sample((2, 2, 6, 5), device=device)
    check_layouts(function, [u])
    check_compiles(function, [u])
    check_batching(function, [u])


def test_autocast_computes_in_float32(device):
    u = sample((1, 2, 8, 9), dtype=torch.bfloat16, device=device)
    with torch.autocast(device, torch.bfloat16):
        assert jacobian_determinant(u).dtype == torch.float32
        assert folding_penalty(u).dtype == torch.float32


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 2, 1, 4), (2, 2, 4, 0), (1, 3, 1, 4, 4)], ids=str)
def test_no_cells(device, shape):
    u = torch.rand(shape, device=device, requires_grad=True)
    det, value = jacobian_determinant(u), folding_penalty(u)
    assert det.shape == (shape[0], *[max(n - 1, 0) for n in shape[2:]])
    assert value.shape == shape[:1]
    assert not value.any()
    (grad,) = torch.autograd.grad(det.sum() + value.sum(), u)
    assert grad.shape == shape
    assert not grad.any()


def test_what_is_not_finite_is_not_hidden(device):
    u = sample((1, 2, 8, 40), dtype=torch.float32, device=device)
    u[0, 0, 3, 20] = math.nan
    assert folding_penalty(u).isnan().all()
    assert jacobian_determinant(u).isnan().sum() == 3  # the cell that starts there, and two that end there


@pytest.mark.parametrize("function", [jacobian_determinant, folding_penalty])
@pytest.mark.parametrize(
    ("u", "voxel", "sentence"),
    [
        (
            sample((1, 3, 4, 4)),
            1.0,
            "displacement must be \\[N, 2, H, W\\] or \\[N, 3, D, H, W\\], got \\[1, 3, 4, 4\\]",
        ),
        (sample((2, 4, 4)), 1.0, "displacement must be"),
        (sample((1, 2, 4, 4)), (1.0,), "one length per axis, 2, got 1"),
        (sample((1, 2, 4, 4)), 0.0, "voxel_size must be positive"),
        (
            sample((1, 2, 4, 4)),
            5e-324,
            "voxel_size must make the factors of derivatives finite in float64, got a factor of inf$",
        ),
        (
            sample((1, 2, 4, 4)).half(),
            (1.0, 1e-39),
            "factors of derivatives finite in float32, got a factor of 1e\\+39$",
        ),
        (sample((1, 2, 4, 4)).int(), 1.0, "float16, bfloat16, float32 or float64"),
    ],
)
def test_bad_arguments_get_one_sentence(function, u, voxel, sentence):
    with pytest.raises(ValueError, match=f"^{function.__name__}: .*{sentence}"):
        function(u, voxel_size=voxel)


def test_a_threshold_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="threshold must be finite"):
        folding_penalty(sample((1, 2, 4, 4)), threshold=math.inf)


@pytest.mark.parametrize("function", [jacobian_determinant, folding_penalty])
def test_what_is_no_tensor_is_a_type_error(function):
    with pytest.raises(TypeError, match="displacement must be a torch.Tensor, got list"):
        function([0.0])
