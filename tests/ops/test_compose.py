import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.operators import bits_for_threads, check_batching, check_compiles, check_layouts, leaves
from torch.autograd import gradcheck

from medadv.ops import compose, exponentiate, spline_field, warp

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
SHAPES = [(2, 2, 13, 17), (1, 2, 40, 33), (2, 3, 6, 7, 9)]


def sample(shape, *, dtype=torch.float64, device="cpu", reach=2.0, seed=0):
    """A smooth field of up to `reach` voxels: that of random control points."""
    g = torch.Generator().manual_seed(seed)
    lattice = (torch.rand((*shape[:2], *[5] * shape[1]), generator=g, dtype=torch.float64) * 2 - 1) * reach
    return spline_field(lattice, shape[2:]).to(device, dtype)


def grid(size):
    return np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")).astype(float)


def compose_by_scipy(outer, inner):
    """[D, *S] in float64."""
    positions = grid(outer.shape[1:]) + inner
    moved = [scipy.ndimage.map_coordinates(o, positions, order=1, mode="nearest", prefilter=False) for o in outer]
    return inner + np.stack(moved)


def exponentiate_by_scipy(velocity, steps):
    displacement = velocity / 2**steps
    for _ in range(steps):
        displacement = compose_by_scipy(displacement, displacement)
    return displacement


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reach", [0.4, 3.0, 30.0])
def test_agrees_with_scipy(device, dtype, shape, reach):
    outer, inner = (sample(shape, dtype=dtype, device=device, reach=reach, seed=seed) for seed in (0, 1))
    out, flow = compose(outer, inner), exponentiate(outer, 5)
    assert out.dtype == flow.dtype == dtype
    for n in range(shape[0]):
        a, b = (t[n].double().cpu().numpy() for t in (outer, inner))
        tolerance = reach * TOLERANCE[dtype]
        np.testing.assert_allclose(out[n].double().cpu().numpy(), compose_by_scipy(a, b), rtol=0, atol=tolerance)
        # In half types only the result is rounded; in float32 errors double with every squaring where space stretches.
        expected = exponentiate_by_scipy(a, 5)
        np.testing.assert_allclose(flow[n].double().cpu().numpy(), expected, rtol=0, atol=5 * tolerance)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_warping_twice_is_warping_by_the_composition(shape):
    """Of an image that is linear in the position, which interpolation reproduces; away from the borders."""
    outer, inner = sample(shape, reach=0.9), sample(shape, reach=0.9, seed=1)
    image = torch.as_tensor(grid(shape[2:])).sum(0).expand(shape[0], 1, *shape[2:])
    twice = warp(warp(image, outer), inner)
    once = warp(image, compose(outer, inner))
    inside = (..., *[slice(2, -2)] * shape[1])
    torch.testing.assert_close(once[inside], twice[inside], rtol=0, atol=1e-12)


def test_with_the_identity(device):
    d = sample((2, 2, 9, 11), dtype=torch.float32, device=device)
    zero = torch.zeros_like(d)
    assert torch.equal(compose(d, zero), d)
    assert torch.equal(compose(zero, d), d)
    assert not exponentiate(zero).any()
    assert torch.equal(exponentiate(d, 0), d)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_constant_velocity_is_a_translation(device, dtype, axes):
    """Exactly, up to the border: that is what continuing by border voxels is for."""
    step = torch.tensor([3.25, -1.5, 40.0][:axes], dtype=dtype, device=device)
    velocity = step.reshape(1, axes, *[1] * axes).expand(2, axes, *(7, 8, 9)[:axes])
    for steps in (0, 1, 7, 12):
        torch.testing.assert_close(exponentiate(velocity, steps), velocity)
        torch.testing.assert_close(exponentiate(-velocity, steps), -velocity)
    torch.testing.assert_close(compose(2 * velocity, -velocity), velocity)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_linear_velocity_is_a_matrix_exponential(axes):
    rng = np.random.default_rng(0)
    matrix = rng.uniform(-0.2, 0.2, (axes, axes))
    n = 41 if axes == 2 else 21
    position = grid([n] * axes) - (n - 1) / 2
    velocity = torch.as_tensor(np.tensordot(matrix, position, 1))[None]
    inside = (0, slice(None), *[slice(n // 3, -(n // 3))] * axes)
    eye, errors = np.eye(axes), []
    for steps in range(3, 9):
        flow = exponentiate(velocity, steps)[inside].numpy()
        squared = np.linalg.matrix_power(eye + matrix / 2**steps, 2**steps) - eye  # interpolation is exact here
        np.testing.assert_allclose(flow, np.tensordot(squared, position[inside[1:]], 1), rtol=0, atol=1e-10)
        exact = np.tensordot(scipy.linalg.expm(matrix) - eye, position[inside[1:]], 1)
        errors.append(np.abs(flow - exact).max())
    ratios = np.array(errors[1:]) / errors[:-1]
    assert (np.abs(ratios - 0.5) < 0.05).all()
    assert errors[4] < 0.01  # of a voxel, at the default of 7 steps


@pytest.mark.parametrize("axes", [2, 3])
def test_the_flow_back_undoes_the_flow(axes):
    """Up to interpolation, whose error falls with the square of the resolution, and the first step's, with steps."""
    g = torch.Generator().manual_seed(0)
    lattice = torch.zeros(1, axes, *[8] * axes, dtype=torch.float64)
    # A velocity that vanishes at the borders, in widths of the image.
    lattice[(..., *[slice(3, 5)] * axes)] = torch.rand((1, axes, *[2] * axes), generator=g, dtype=torch.float64) / 4
    errors = []
    for n in (17, 33, 65) if axes == 2 else (9, 17, 33):
        velocity = spline_field(lattice, [n] * axes) * (n - 1)
        there, back = exponentiate(velocity, 10), exponentiate(-velocity, 10)
        assert there.abs().max() > 0.01 * n
        errors.append([compose(a, b).abs().max().item() / (n - 1) for a, b in ((there, back), (back, there))])
    coarse, middle, fine = np.array(errors)
    assert (middle < 0.45 * coarse).all()
    assert (fine < 0.45 * middle).all()
    rough = compose(exponentiate(velocity, 1), exponentiate(-velocity, 1)).abs().max().item() / (n - 1)
    assert rough > 2 * fine.max()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), axes=st.integers(2, 3), times=st.integers(1, 3))
def test_time_adds_up(seed, axes, times):
    """exp(2^k v) is exp(v) composed with itself k times: the same squarings."""
    velocity = sample((1, axes, *(9, 10, 8)[:axes]), reach=1.0, seed=seed)
    flow = exponentiate(velocity, 4)
    for _ in range(times):
        flow = compose(flow, flow)
    torch.testing.assert_close(flow, exponentiate(velocity * 2**times, 4 + times), rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 2, 5, 6), (1, 3, 4, 3, 5)], ids=str)
def test_first_derivatives(device, shape):
    outer, inner = (sample(shape, device=device, reach=1.5, seed=seed) for seed in (0, 3))
    assert gradcheck(compose, leaves([outer, inner]))
    assert gradcheck(lambda v: exponentiate(v, 3), leaves([inner]))


def test_second_derivatives_are_refused():
    (velocity,) = leaves([sample((1, 2, 5, 6))])
    (grad,) = torch.autograd.grad(exponentiate(velocity, 2).pow(2).sum(), velocity, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives to the displacement"):
        torch.autograd.grad(grad.sum(), velocity)


def test_inputs_are_left_as_they_are():
    outer, inner = sample((1, 2, 8, 9)), sample((1, 2, 8, 9), seed=1)
    copies = outer.clone(), inner.clone()
    compose(outer, inner)
    exponentiate(outer, 0).add_(1)
    exponentiate(outer, 3)
    assert torch.equal(outer, copies[0])
    assert torch.equal(inner, copies[1])


def test_layouts_compile_and_batching(device):
    pair = [sample((2, 2, 6, 7), device=device, seed=seed) for seed in (0, 1)]
    check_layouts(compose, pair)
    check_compiles(compose, pair)
    check_batching(compose, pair)
    check_layouts(exponentiate, pair[:1])
    check_compiles(lambda v: exponentiate(v, 2), pair[:1])
    check_batching(lambda v: exponentiate(v, 3), pair[:1])


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_computes_in_float32(device, half):
    outer, inner = (sample((1, 2, 8, 9), dtype=half, device=device, seed=seed) for seed in (0, 1))
    with torch.autocast(device, half):
        assert compose(outer, inner).dtype == torch.float32


@pytest.mark.parametrize("shape", [(1, 2, 150, 170), (1, 3, 20, 50, 61)], ids=str)
def test_same_bits_for_any_number_of_threads(shape):
    (velocity,) = leaves([sample(shape, dtype=torch.float32)])

    def run():
        flow = exponentiate(velocity, 3)
        return [flow.detach(), *torch.autograd.grad(flow, velocity, flow.detach())]

    one, two, three = bits_for_threads(run, (1, 2, 3))
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize("shape", [(0, 2, 5, 6), (1, 2, 0, 6), (1, 3, 2, 0, 4)], ids=str)
def test_empty(device, shape):
    field = torch.zeros(shape, device=device, requires_grad=True)
    for out in (compose(field, field), exponentiate(field)):
        assert out.shape == shape
        assert torch.autograd.grad(out.sum(), field)[0].shape == shape


def _wrong():
    d = sample((2, 2, 5, 6))
    return [
        ("compose: outer must be \\[N, 2, H, W\\] or \\[N, 3, D, H, W\\], got \\[2, 5, 6\\]", compose, (d[0], d)),
        ("compose: inner must be \\[N, 2, H, W\\]", compose, (d, d[:, :1])),
        ("compose: inner must have the shape of outer, \\[2, 2, 5, 6\\], got \\[1, 2, 5, 6\\]", compose, (d, d[:1])),
        ("compose: inner must have the dtype of outer, torch.float64, got torch.float32", compose, (d, d.float())),
        ("compose: inner must be on the device of outer, cpu, got meta", compose, (d, d.to("meta"))),
        ("compose: outer must be float16, bfloat16, float32 or float64, got torch.int64", compose, (d.long(), d)),
        ("exponentiate: velocity must be \\[N, 2, H, W\\]", exponentiate, (d[:, :1],)),
        ("exponentiate: velocity must be float16", exponentiate, (d.to(torch.complex64),)),
        ("exponentiate: steps must be 0 to 30, got -1", exponentiate, (d, -1)),
        ("exponentiate: steps must be 0 to 30, got 31", exponentiate, (d, 31)),
    ]


@pytest.mark.parametrize(("sentence", "function", "args"), _wrong(), ids=[s for s, _, _ in _wrong()])
def test_bad_arguments_get_one_sentence(sentence, function, args):
    with pytest.raises(ValueError, match=f"^{sentence}") as error:
        function(*args)
    assert "\n" not in str(error.value)


def test_wrong_types():
    d = sample((1, 2, 4, 5))
    with pytest.raises(TypeError, match="compose: inner must be a torch.Tensor, got float"):
        compose(d, 1.0)
    with pytest.raises(TypeError, match="exponentiate: velocity must be a torch.Tensor, got list"):
        exponentiate([0.0])
    with pytest.raises(TypeError, match="exponentiate: steps must be an integer, got float"):
        exponentiate(d, 7.0)
