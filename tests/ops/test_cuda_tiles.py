"""The block algorithms of the CUDA kernels, run on the host: most of a kernel's logic needs no GPU to be tested."""

import numpy as np
import pytest
import torch
from support import splines, warps
from support.guarded import CAN_GUARD, guarded, survives

from medadv._core import definitions

CASES = [
    ((1, 5, 7), (1, 4, 4)),
    ((2, 1, 130), (1, 4, 9)),
    ((2, 33, 1), (2, 6, 4)),
    ((1, 1, 9), (1, 7, 4)),  # control points of the one voxel's axis that reach none
    ((1, 9, 1), (1, 4, 7)),
    ((1, 70, 300), (1, 9, 12)),
    ((3, 40, 128), (1, 7, 20)),
    ((2, 3, 37, 132), (2, 4, 5, 11)),
    ((2, 5, 17, 140), (1, 6, 4, 9)),
]


def sample(image_shape, lattice_shape, dtype):
    rng = np.random.default_rng(0)
    image, grad = rng.uniform(0.1, 1, (2, *image_shape))
    lattice = rng.uniform(-0.5, 0.5, lattice_shape)
    return [a.astype(dtype) for a in (image, grad, lattice)]


def reference(image, grad, lattice):
    x, c = (torch.tensor(a, dtype=torch.float64).requires_grad_() for a in (image, lattice))
    out = splines_bias_field(x, c)
    return out.detach().numpy(), *(g.numpy() for g in torch.autograd.grad(out, (x, c), torch.tensor(grad).double()))


def splines_bias_field(image, lattice):
    return splines.bias_field(image[None], lattice[None])[0]


# Several orders: one permutation can hide a race.
@pytest.mark.parametrize("seed", [0, 1, 5, 77])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("image_shape", "lattice_shape"), CASES, ids=str)
def test_tiles_match_the_dense_definition(image_shape, lattice_shape, dtype, seed):
    image, grad, lattice = sample(image_shape, lattice_shape, dtype)
    expected, expected_image, expected_lattice = reference(image, grad, lattice)
    tolerance = {np.float32: 2e-6, np.float64: 1e-13}[dtype]
    np.testing.assert_allclose(definitions.tiled_bias_field(image, lattice, seed), expected, rtol=tolerance)
    grad_image, grad_lattice = definitions.tiled_bias_field_backward(grad, image, lattice, seed)
    np.testing.assert_allclose(grad_image, expected_image, rtol=tolerance)
    np.testing.assert_allclose(grad_lattice, expected_lattice, rtol=4 * tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_order_of_threads_does_not_change_a_bit(dtype):
    image, grad, lattice = sample((2, 50, 150), (1, 6, 8), dtype)
    runs = [definitions.tiled_bias_field_backward(grad, image, lattice, seed) for seed in (0, 3, 9)]
    for grad_image, grad_lattice in runs[1:]:
        assert np.array_equal(grad_image, runs[0][0])
        assert np.array_equal(grad_lattice, runs[0][1])


def test_a_lattice_too_fine_for_tiles_is_refused():
    image, grad, lattice = sample((1, 64, 64), (1, 60, 60), np.float32)
    with pytest.raises(ValueError, match="too fine for tiles"):
        definitions.tiled_bias_field(image, lattice)
    with pytest.raises(ValueError, match="too fine for tiles"):
        definitions.tiled_bias_field_backward(grad, image, lattice)


# 128 columns of a tile may be reached by 40 control points, 32 rows (16 in float64) by 12.
@pytest.mark.parametrize(
    ("dtype", "size", "most"),
    [(np.float32, (1, 128), (4, 40)), (np.float32, (32, 1), (12, 4)), (np.float64, (16, 1), (12, 4))],
)
def test_the_finest_lattice_of_a_tile(dtype, size, most):
    image, _, lattice = sample((1, *size), (1, *most), dtype)
    expected = reference(image, image, lattice)[0]
    np.testing.assert_allclose(definitions.tiled_bias_field(image, lattice), expected, rtol=2e-6)
    finer = np.zeros((1, *(k + (k > 4) for k in most)), dtype)
    with pytest.raises(ValueError, match="too fine for tiles"):
        definitions.tiled_bias_field(image, finer)


# The last lattice is too fine for tiles: every voxel gathers its own control points.
WARPS = [
    ((1, 5, 7), (4, 4)),
    ((2, 70, 300), (9, 12)),
    ((1, 3, 37, 132), (4, 5, 11)),
    ((1, 64, 64), (60, 60)),
]


@pytest.mark.parametrize("seed", [0, 1, 77])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("image_shape", "knots"), WARPS, ids=str)
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_warping_tiles_match_the_dense_definition(image_shape, knots, interpolation, dtype, seed):
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 1, image_shape).astype(dtype)
    lattice = rng.uniform(-5, 5, (len(knots), *knots)).astype(dtype)
    field = splines.spline_field(torch.tensor(lattice)[None], image_shape[1:])
    expected = warps.warp(torch.tensor(image)[None], field, interpolation, "border")[0].numpy()
    out = definitions.tiled_spline_warp(image, lattice, warps.INTERPOLATIONS.index(interpolation), 1, seed)
    np.testing.assert_allclose(out, expected, rtol=0, atol={np.float32: 1e-5, np.float64: 1e-12}[dtype])


# Images, lattice of the displacement, of the gain; the last ones too fine for tiles.
CHAINS = [
    ((2, 2, 70, 300), (9, 12), (4, 5)),
    ((3, 1, 5, 7), (4, 5), (6, 4)),
    ((2, 1, 3, 37, 132), (4, 5, 11), (5, 4, 4)),
    ((2, 2, 64, 64), (60, 60), (4, 4)),
    ((2, 2, 64, 64), (4, 4), (60, 60)),
]


def alone(arrays, n):
    return [None if a is None else a[n : n + 1].astype(np.float64) for a in arrays]


@pytest.mark.parametrize("seed", [0, 1, 77])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("image_shape", "motion", "gain"), CHAINS, ids=str)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
@pytest.mark.parametrize("left_out", [None, 0, 1, 2], ids=["all", "no displacement", "no gain", "no noise"])
def test_chaining_tiles_match_the_definition(image_shape, motion, gain, per_channel, left_out, dtype, seed):
    rng = np.random.default_rng(0)
    examples, channels = image_shape[0], image_shape[1] if per_channel else 1
    image, grad = rng.uniform(0, 1, (2, *image_shape)).astype(dtype)
    stages = [
        rng.uniform(-3, 3, (examples, len(motion), *motion)),
        rng.uniform(-0.4, 0.4, (examples, channels, *gain)),
        rng.uniform(-0.1, 0.1, (examples, channels, *image_shape[2:])),
    ]
    stages = [None if k == left_out else s.astype(dtype) for k, s in enumerate(stages)]
    settings = ([0.0, 2.0], -0.5, 2, 1)  # bounds that no rounding crosses, cubic, border
    out = definitions.tiled_transform_chain(image, *stages, *settings, seed)
    tolerance = {np.float32: 2e-5, np.float64: 1e-12}[dtype]
    got = definitions.tiled_transform_chain_gradients(grad, image, *stages, *settings, seed)
    assert [g is None for g in got] == [False, *(s is None for s in stages)]
    # Each example by itself: the definition shares the code that finds an example's arrays.
    for n in range(examples):
        exact = alone((grad, image, *stages), n)
        np.testing.assert_allclose(
            out[n : n + 1], definitions.transform_chain(*exact[1:], *settings), rtol=0, atol=tolerance
        )
        for g, want in zip(alone(got, n), definitions.transform_chain_gradients(*exact, *settings), strict=True):
            if want is not None:
                np.testing.assert_allclose(g, want, rtol=0, atol=tolerance * (np.abs(want).max() + 1))


# The last two lattices are too fine for tiles, which derivatives of fields refuse and Jacobians do without.
SLOPES = [
    ((4, 4), (5, 7)),
    ((9, 12), (70, 300)),
    ((4, 9), (33, 130)),
    ((4, 5, 11), (3, 37, 132)),
    ((5, 4, 6), (4, 17, 20)),
    ((60, 60), (64, 64)),
    ((4, 30, 4), (3, 33, 9)),
]


def differentiated(lattice, size, derivative, voxel_size):
    field = splines.spline_field(torch.tensor(lattice)[None], size, derivative)[0]
    for n, k, d, h in zip(size, lattice.shape[1:], derivative, voxel_size, strict=True):
        field = field * ((k - 3) / ((n - 1) * h)) ** d
    return field.numpy()


@pytest.mark.parametrize("seed", [0, 1, 77])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("knots", "size"), SLOPES[:-2], ids=str)
def test_tiles_of_derivatives_match_the_dense_definition(knots, size, dtype, seed):
    rng = np.random.default_rng(0)
    lattice = rng.uniform(-1, 1, (2, *knots)).astype(dtype)
    grad = rng.uniform(-1, 1, (2, *size)).astype(dtype)
    voxel_size, tolerance = [0.5, 2.0, 1.5][: len(size)], {np.float32: 4e-6, np.float64: 1e-12}[dtype]
    for derivative in ([0] * (len(size) - 1) + [1], [1] + [0] * (len(size) - 2) + [1], [0] * (len(size) - 2) + [2, 0]):
        expected = differentiated(lattice, size, derivative, voxel_size)
        out = definitions.tiled_spline_derivative(lattice, size, derivative, voxel_size, seed)
        np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance * np.abs(expected).max())
        adjoint = definitions.tiled_spline_derivative_adjoint(grad, knots, derivative, voxel_size, seed)
        for k in range(2):
            expected = definitions.spline_derivative_adjoint(grad[k].astype(float), knots, derivative, voxel_size)
            np.testing.assert_allclose(adjoint[k], expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("seed", [0, 1, 77])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("knots", "size"), SLOPES, ids=str)
def test_tiles_of_jacobians_match_the_dense_definition(knots, size, dtype, seed):
    axes, threshold, examples = len(size), 0.7, 3
    rng = np.random.default_rng(0)
    spacing = [(n - 1) / (k - 3) for n, k in zip(size, knots, strict=True)]
    lattice = (rng.uniform(-1, 1, (examples, axes, *knots)) * min(spacing)).astype(dtype)
    grad = rng.uniform(-1, 1, (examples, *size)).astype(dtype)
    voxel_size = [0.5, 2.0, 1.5][:axes]
    order = np.eye(axes, dtype=int).tolist()
    slopes = [[differentiated(c, size, order[a], voxel_size) for a in range(axes)] for c in lattice]
    matrix = np.moveaxis(np.array(slopes), (2, 1), (-2, -1)) + np.eye(axes)  # [N, *S, component, axis]
    expected = np.linalg.det(matrix)
    shortfall = np.maximum(threshold - expected, 0)
    pull = -2 * shortfall / shortfall[0].size
    cofactors = expected[..., None, None] * np.linalg.inv(matrix).swapaxes(-1, -2)
    tolerance = {np.float32: 2e-5, np.float64: 1e-11}[dtype]
    for axis in range(axes):
        out, given, total, folding = definitions.tiled_spline_jacobian(lattice, grad, voxel_size, threshold, axis, seed)
        np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance * np.abs(expected).max())
        np.testing.assert_allclose(total, (shortfall**2).reshape(examples, -1).sum(1), rtol=tolerance)
        cofactor = np.moveaxis(cofactors[..., axis], -1, 1)
        for got, wanted in ((given, grad[:, None] * cofactor), (folding, pull[:, None] * cofactor)):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.skipif(not CAN_GUARD, reason="needs Linux")
@pytest.mark.parametrize("at_end", [False, True], ids=["begin", "end"])
@pytest.mark.parametrize(("knots", "size"), [*SLOPES[:-2], ((4, 4), (1, 1)), ((4, 4, 4), (1, 1, 5))], ids=str)
def test_tiles_read_nothing_past_their_arrays(knots, size, at_end):
    axes = len(size)

    def run():
        image, grad, lattice = (guarded(a, at_end=at_end) for a in sample((2, *size), (axes, *knots), np.float32))
        gain = guarded(lattice[:1], at_end=at_end)
        definitions.tiled_bias_field_backward(grad, image, gain)
        definitions.tiled_spline_warp(image, lattice, 1, 0)
        pair = guarded(np.stack([lattice, lattice]), at_end=at_end)
        gains = guarded(pair[:, :1], at_end=at_end)
        definitions.tiled_transform_chain_gradients(grad[:, None], image[:, None], pair, gains, None, [], 0.0, 1, 0)
        if min(size) > 1:
            definitions.tiled_spline_jacobian(pair, grad, [1.0] * axes, 0.7, 0)

    assert survives(run)
