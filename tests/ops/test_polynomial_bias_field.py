import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import polynomials
from support.guarded import CAN_GUARD, guarded, survives
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
from medadv.ops import polynomial_bias_field, polynomial_terms
from medadv.ops.thin_plate_spline import thin_plate_weights

BASES, WARPS = polynomials.BASES, polynomials.WARPS
TOLERANCE = {torch.float64: 1e-12, torch.float32: 6e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
# Sizes with one voxel along an axis, primes, more than one segment or tile; grids finer than the image too.
CASES = [
    ((1, 1, 1, 1), (2, 2), 3),
    ((2, 3, 1, 17), (2, 3), 12),
    ((2, 1, 13, 1), (9, 2), 5),
    ((1, 2, 31, 37), (3, 4), 0),
    ((9, 1, 20, 33), (4, 4), 4),
    ((1, 2, 40, 300), (5, 4), 9),
    ((1, 1, 260, 64), (4, 3), 1),
    ((1, 1, 3, 4), (6, 7), 2),
    ((1, 2, 5, 6, 7), (2, 3, 3), 12),
    ((2, 1, 1, 9, 33), (2, 4, 3), 3),
    ((1, 3, 6, 9, 140), (3, 2, 4), 5),
]
IDS = {"ids": str}


def sample(shape, grid, degree, *, warp=None, per_channel=False, dtype=torch.float64, device="cpu", seed=0):
    """Image, coefficients and, where coordinates move, control points: a gain between about 1/2 and 2."""
    g = torch.Generator().manual_seed(seed)
    axes, count = len(shape) - 2, len(polynomial_terms(degree, len(shape) - 2))

    def uniform(*size):
        return torch.rand(size, generator=g, dtype=torch.float64) * 2 - 1

    image = uniform(*shape).abs() + 0.1
    coefficients = uniform(shape[0], shape[1] if per_channel else 1, count) * 0.5 / math.sqrt(count)
    control = uniform(shape[0], axes, *grid) * 0.2 / max(grid)
    tensors = [image, coefficients] + ([] if warp is None else [control])
    return [t.to(device, dtype) for t in tensors]


def operator(**settings):
    return functools.partial(polynomial_bias_field, **settings)


def relative_error(got, want):
    return float((got.detach().double().cpu() - want).abs().max() / want.abs().max().clamp(min=1e-300))


@pytest.mark.parametrize("dtype", TOLERANCE, **IDS)
@pytest.mark.parametrize("case", CASES, **IDS)
@pytest.mark.parametrize("warp", WARPS, **IDS)
@pytest.mark.parametrize("basis", BASES)
def test_matches_the_dense_definition(device, dtype, case, warp, basis):
    shape, grid, degree = case
    for per_channel in (False, True):
        args = sample(shape, grid, degree, warp=warp, per_channel=per_channel, dtype=dtype, device=device)
        out = polynomial_bias_field(*args, degree=degree, basis=basis, warp=warp)
        assert out.dtype == dtype
        expected = polynomials.polynomial_bias_field(*args, degree=degree, basis=basis, warp=warp)
        # A high degree multiplies what rounding does to a coordinate.
        tolerance = TOLERANCE[dtype] * (1 + degree / 3 if warp else 1)
        torch.testing.assert_close(out.double().cpu(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", TOLERANCE, **IDS)
@pytest.mark.parametrize("case", CASES, **IDS)
@pytest.mark.parametrize("warp", WARPS, **IDS)
@pytest.mark.parametrize("wanted", ["all", "parameters", "image"])
def test_gradients_match_the_dense_definition(device, dtype, case, warp, wanted):
    shape, grid, degree = case
    args = leaves(sample(shape, grid, degree, warp=warp, per_channel=True, dtype=dtype, device=device))
    args[0].requires_grad_(wanted != "parameters")
    for parameter in args[1:]:
        parameter.requires_grad_(wanted != "image")
    grad = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device, dtype)
    exact = leaves([t.double().cpu() for t in args])
    expected = torch.autograd.grad(
        polynomials.polynomial_bias_field(*exact, degree=degree, warp=warp),
        exact,
        grad.double().cpu(),
        allow_unused=True,
    )
    inputs = [t for t in args if t.requires_grad]
    got = torch.autograd.grad(polynomial_bias_field(*args, degree=degree, warp=warp), inputs, grad)
    for g, want in zip(got, [e for t, e in zip(args, expected, strict=True) if t.requires_grad], strict=True):
        if want is None:  # degree 0: nothing depends on the coordinates
            assert not g.any()
        elif want.abs().max() > 1e-9:
            assert relative_error(g, want) < 5 * TOLERANCE[dtype] * (1 + degree / 3)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("warp", WARPS, **IDS)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
def test_first_derivatives(device, axes, basis, warp, per_channel):
    shape, grid = (2, 2, *(3, 4, 5)[-axes:]), (2, 3, 2)[-axes:]
    args = sample(shape, grid, 3, warp=warp, per_channel=per_channel, device=device)
    assert torch.autograd.gradcheck(operator(degree=3, basis=basis, warp=warp), leaves(args))
    parameters = leaves(args[1:])
    assert torch.autograd.gradcheck(
        lambda *p: polynomial_bias_field(args[0], *p, degree=3, basis=basis, warp=warp), parameters
    )


@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_any_derivative_to_the_image_alone(device, warp):
    image, *parameters = sample((1, 2, 3, 4), (2, 3), 4, warp=warp, device=device)
    check_gradients(lambda x: polynomial_bias_field(x, *parameters, degree=4, warp=warp), [image])


@pytest.mark.parametrize("with_image", [False, True])
def test_second_derivatives_to_the_parameters_are_refused(with_image):
    image, coefficients = leaves(sample((1, 1, 3, 4), (2, 2), 2))
    out = polynomial_bias_field(image if with_image else image.detach(), coefficients, degree=2)
    (grad,) = torch.autograd.grad(out.sum(), coefficients, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives to coefficients and control are not defined"):
        grad.sum().backward()


@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_registration(device, warp):
    image, coefficients, *control = sample((2, 2, 5, 6), (3, 2), 2, warp=warp, device=device)
    weights = image.new_empty(2, 2, 0)
    if control:
        weights = control[0].flatten(2) if warp == "flow" else thin_plate_weights(control[0])
    settings = ([3, 2] if control else [], 2, 0, WARPS.index(warp))
    ops = torch.ops.medadv
    check_registration(ops.polynomial_bias_field.default, (image, coefficients, weights, *settings))
    args = (image + 1, image, coefficients, weights, *settings, True)
    torch.library.opcheck(ops.polynomial_bias_field_backward.default, args)
    torch.library.opcheck(ops.polynomial_bias_field_parameters_backward.default, args)


@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_layouts(device, warp):
    args = sample((2, 3, 9, 10), (3, 4), 4, warp=warp, per_channel=True, device=device)
    image, *parameters = args
    check_layouts(lambda x: polynomial_bias_field(x, *parameters, degree=4, warp=warp), [image])
    expected = polynomial_bias_field(*args, degree=4, warp=warp)
    strided = [torch.stack([t, t], -1)[..., 0] for t in parameters]
    assert torch.equal(polynomial_bias_field(image, *strided, degree=4, warp=warp), expected)


@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_compiles(device, warp):
    check_compiles(operator(degree=3, warp=warp), sample((2, 2, 9, 10), (3, 4), 3, warp=warp, device=device))


@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_batching(device, warp):
    check_batching(operator(degree=3, warp=warp), sample((2, 2, 5, 6), (3, 2), 3, warp=warp, device=device))


@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_meta_tensors_give_shapes(warp):
    args = [t.to("meta") for t in sample((2, 3, 5, 6), (4, 5), 3, warp=warp)]
    assert polynomial_bias_field(*args, degree=3, warp=warp).shape == (2, 3, 5, 6)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], **IDS)
@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_autocast_computes_in_float32(device, half, warp):
    args = sample((1, 1, 8, 9), (3, 3), 4, warp=warp, dtype=half, device=device)
    with torch.autocast(device, half):
        out = polynomial_bias_field(*args, degree=4, warp=warp)
    assert out.dtype == torch.float32
    expected = polynomials.polynomial_bias_field(*args, degree=4, warp=warp)
    torch.testing.assert_close(out.double().cpu(), expected, rtol=2e-5, atol=0)


@pytest.mark.parametrize("warp", WARPS, **IDS)
@pytest.mark.parametrize("dtype", TOLERANCE, **IDS)
def test_zero_coefficients_are_the_identity_to_the_bit(device, warp, dtype):
    image, coefficients, *control = sample((2, 2, 37, 41), (4, 4), 7, warp=warp, dtype=dtype, device=device)
    out = polynomial_bias_field(image, torch.zeros_like(coefficients), *control, degree=7, warp=warp)
    assert torch.equal(out, image)


@pytest.mark.parametrize("degree", range(13))
@pytest.mark.parametrize("basis", BASES)
def test_matches_numpy_polynomials(degree, basis):
    image, coefficients = sample((1, 1, 9, 14), (2, 2), degree)
    series = np.zeros((degree + 1, degree + 1))
    for (t, u), a in zip(polynomial_terms(degree, 2), coefficients[0, 0].tolist(), strict=True):
        series[t, u] = a
    grid = np.polynomial.legendre.leggrid2d if basis == "legendre" else np.polynomial.polynomial.polygrid2d
    field = grid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 14), series)
    out = polynomial_bias_field(image, coefficients, degree=degree, basis=basis)
    np.testing.assert_allclose(out[0, 0].numpy(), image[0, 0].numpy() * np.exp(field), rtol=1e-13)


@pytest.mark.parametrize("basis", ["leggrid3d", "polygrid3d"])
def test_matches_numpy_polynomials_in_three_dimensions(basis):
    image, coefficients = sample((1, 1, 4, 5, 6), (2, 2, 2), 6)
    series = np.zeros((7, 7, 7))
    for powers, a in zip(polynomial_terms(6, 3), coefficients[0, 0].tolist(), strict=True):
        series[powers] = a
    module = np.polynomial.legendre if basis == "leggrid3d" else np.polynomial.polynomial
    field = getattr(module, basis)(*[np.linspace(-1, 1, n) for n in (4, 5, 6)], series)
    out = polynomial_bias_field(image, coefficients, degree=6, basis="legendre" if "leg" in basis else "monomial")
    np.testing.assert_allclose(out[0, 0].numpy(), image[0, 0].numpy() * np.exp(field), rtol=1e-13)


@pytest.mark.parametrize("warp", ["thin_plate", "flow"])
@pytest.mark.parametrize(("size", "grid"), [((11, 17), (3, 5)), ((5, 7, 9), (3, 4, 5))], **IDS)
def test_an_affine_motion_of_the_control_points_moves_all_coordinates_so(device, warp, size, grid):
    axes = len(size)
    g = torch.Generator().manual_seed(3)
    matrix = torch.rand(axes, axes, generator=g, dtype=torch.float64) * 0.2 - 0.1
    shift = torch.rand(axes, generator=g, dtype=torch.float64) * 0.2
    control = torch.einsum("ij,j...->i...", matrix, polynomials.coordinates(grid)) + shift.reshape(-1, *[1] * axes)
    at = polynomials.coordinates(size)
    moved = at + torch.einsum("ij,j...->i...", matrix, at) + shift.reshape(-1, *[1] * axes)
    for component in range(axes):
        powers = tuple(int(d == component) for d in range(axes))
        coefficients = torch.tensor([[[float(p == powers) for p in polynomial_terms(1, axes)]]], dtype=torch.float64)
        out = polynomial_bias_field(
            torch.ones(1, 1, *size, dtype=torch.float64, device=device),
            coefficients.to(device),
            control[None].to(device),
            degree=1,
            warp=warp,
        )
        torch.testing.assert_close(out.log()[0, 0].cpu(), moved[component], rtol=0, atol=1e-12)


@pytest.mark.parametrize("warp", ["thin_plate", "flow"])
@pytest.mark.parametrize("grid", [(3, 4), (2, 3, 4)], **IDS)
def test_control_points_on_voxels_move_them_exactly(warp, grid):
    size = tuple(2 * (n - 1) + 1 for n in grid)  # every second voxel is a control point
    axes = len(size)
    (_, _, control) = sample((1, 1, *size), grid, 1, warp=warp)
    for component in range(axes):
        powers = tuple(int(d == component) for d in range(axes))
        coefficients = torch.tensor([[[float(p == powers) for p in polynomial_terms(1, axes)]]], dtype=torch.float64)
        image = torch.ones(1, 1, *size, dtype=torch.float64)
        field = polynomial_bias_field(image, coefficients, control, degree=1, warp=warp).log()[0, 0]
        displaced = (field - polynomials.coordinates(size)[component])[(slice(None, None, 2),) * axes]
        torch.testing.assert_close(displaced, control[0, component], rtol=0, atol=1e-12)


@pytest.mark.parametrize("align", [(3, 5), (2, 3, 4)], **IDS)
def test_a_flow_is_torch_interpolate(align):
    size = tuple(3 * n + 2 for n in align)
    (_, _, control) = sample((1, 1, *size), align, 1, warp="flow")
    mode = "bilinear" if len(align) == 2 else "trilinear"
    expected = torch.nn.functional.interpolate(control, size, mode=mode, align_corners=True)[0, -1]
    coefficients = torch.tensor([[[float(p[-1]) for p in polynomial_terms(1, len(align))]]], dtype=torch.float64)
    image = torch.ones(1, 1, *size, dtype=torch.float64)
    field = polynomial_bias_field(image, coefficients, control, degree=1, warp="flow").log()[0, 0]
    torch.testing.assert_close(field - polynomials.coordinates(size)[-1], expected, rtol=0, atol=1e-13)


def test_no_displacement_is_no_warp(device):
    image, coefficients, control = sample((2, 1, 20, 30), (3, 4), 6, warp="flow", device=device)
    still = polynomial_bias_field(image, coefficients, degree=6)
    for warp in ("thin_plate", "flow"):
        moved = polynomial_bias_field(image, coefficients, torch.zeros_like(control), degree=6, warp=warp)
        torch.testing.assert_close(moved, still, rtol=1e-13, atol=0)


def test_control_points_of_any_floating_dtype(device):
    image, coefficients, control = sample((1, 1, 9, 8), (3, 4), 3, warp="flow", dtype=torch.float32, device=device)
    for dtype in (torch.float16, torch.float64):
        moved = control.to(dtype).requires_grad_()
        for warp in ("thin_plate", "flow"):
            out = polynomial_bias_field(image, coefficients, moved, degree=3, warp=warp)
            assert out.dtype == torch.float32
            assert torch.autograd.grad(out.sum(), moved)[0].dtype == dtype


@pytest.mark.parametrize("warp", WARPS, **IDS)
@pytest.mark.parametrize("case", [((3, 2, 97, 230), (4, 5), 5), ((1, 2, 40, 50, 61), (3, 2, 4), 3)], **IDS)
def test_same_bits_for_any_number_of_threads(case, warp):
    shape, grid, degree = case
    args = leaves(sample(shape, grid, degree, warp=warp, dtype=torch.float32))

    def run():
        out = polynomial_bias_field(*args, degree=degree, warp=warp)
        alone = polynomial_bias_field(args[0].detach(), *args[1:], degree=degree, warp=warp)
        ones = torch.ones_like(out)
        return [out.detach(), *torch.autograd.grad(out, args, ones), *torch.autograd.grad(alone, args[1:], ones)]

    one, two, three = bits_for_threads(run, (1, 2, 3))
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_an_example_does_not_depend_on_its_batch(device, warp):
    args = leaves(sample((11, 1, 40, 50), (3, 4), 5, warp=warp, dtype=torch.float32, device=device))

    def run(inputs):
        out = polynomial_bias_field(*inputs, degree=5, warp=warp)
        return [out, *torch.autograd.grad(out.sum(), inputs)]

    whole = run(args)
    for i in (0, 7, 10):
        for one, all_of_them in zip(run(leaves([t[i : i + 1] for t in args])), whole, strict=True):
            assert torch.equal(one[0], all_of_them[i])


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 150)),
    grid=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    degree=st.integers(0, 12),
    basis=st.sampled_from(BASES),
    warp=st.sampled_from(WARPS),
)
def test_any_geometry(size, grid, degree, basis, warp):
    args = leaves(sample((1, 1, *size), grid, degree, warp=warp))
    exact = leaves(args)
    out = polynomial_bias_field(*args, degree=degree, basis=basis, warp=warp)
    expected = polynomials.polynomial_bias_field(*exact, degree=degree, basis=basis, warp=warp)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=0)
    got = torch.autograd.grad(out.sum(), args)
    want = torch.autograd.grad(expected.sum(), exact, allow_unused=True)
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, torch.zeros_like(g) if w is None else w, rtol=1e-9, atol=1e-9)


def test_the_vectorised_exponential():
    """A polynomial of degree 0 is its coefficient: images of ones become its exponential."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(-110, 95, 20_000), rng.uniform(-0.5, 0.5, 20_000)]).astype(np.float32)
    coefficients = torch.from_numpy(values)[:, None, None]
    out = polynomial_bias_field(torch.ones(len(values), 1, 1, 1), coefficients, degree=0, basis="monomial")
    exact = np.exp(values.astype(np.float64))
    got = out.flatten().double().numpy()
    largest, normal, subnormal = (2 - 2.0**-23) * 2.0**127, 2.0**-126, 2.0**-149
    assert np.isinf(got[exact > largest * (1 + 2e-7)]).all()
    inside = exact < largest * (1 - 2e-7)
    error = np.abs(got - exact)[inside]
    assert (error <= np.maximum(2e-7 * exact[inside], np.where(exact[inside] < normal, subnormal, 0))).all()
    assert (got[exact < subnormal / 4] == 0).all()


@given(seed=st.integers(0, 1000), degree=st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_the_gain_of_legendre_polynomials_is_bounded_by_their_coefficients(seed, degree):
    image, coefficients = sample((1, 1, 33, 47), (2, 2), degree, dtype=torch.float32, seed=seed)
    bound = coefficients.abs().sum().double().exp()
    out = polynomial_bias_field(torch.ones_like(image), coefficients, degree=degree).double()
    assert out.max() <= bound * (1 + 2e-6)
    assert out.min() >= (1 - 2e-6) / bound


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("argument", ["coefficients", "control"])
def test_what_is_not_finite_is_not_hidden(device, value, argument):
    args = sample((1, 1, 20, 40), (3, 3), 3, warp="flow", dtype=torch.float32, device=device)
    args[1 if argument == "coefficients" else 2].fill_(value)
    out = polynomial_bias_field(*args, degree=3, warp="flow")
    assert not ((out > 0) & out.isfinite()).any()


@pytest.mark.parametrize("shape", [(0, 1, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (2, 1, 5, 0), (1, 1, 0, 4, 4)], **IDS)
@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_empty_images(device, shape, warp):
    axes = len(shape) - 2
    args = [torch.rand(shape), torch.rand(shape[0], 1, len(polynomial_terms(2, axes)))]
    args += [] if warp is None else [torch.rand(shape[0], axes, *[3] * axes)]
    args = leaves([t.to(device) for t in args])
    out = polynomial_bias_field(*args, degree=2, warp=warp)
    assert out.shape == shape
    for g, t in zip(torch.autograd.grad(out.sum(), args), args, strict=True):
        assert g.shape == t.shape
        assert not g.any()


def definition_arguments(shape, grid, degree, warp, per_channel):
    """One example as the definitions take it: NumPy arrays, weights of the motion, and settings."""
    image, coefficients, *control = sample((1, *shape), grid, degree, warp=warp, per_channel=per_channel)
    weights = torch.empty(1, len(grid), 0, dtype=torch.float64)
    if warp is not None:
        weights = thin_plate_weights(control[0]) if warp == "thin_plate" else control[0].flatten(2)
    arrays = [t[0].numpy() for t in (image, coefficients, weights)]
    return arrays, (list(grid) if warp else [], degree, 0, WARPS.index(warp))


DEFINED = [
    ((2, 9, 13), (3, 4), 4),
    ((1, 40, 140), (4, 3), 12),
    ((3, 1, 17), (2, 2), 2),
    ((1, 1, 17), (4, 3), 2),  # its one row lies between two control points
    ((2, 3, 20, 131), (2, 3, 4), 3),
    ((1, 5, 6, 7), (2, 3, 2), 12),
]


@pytest.mark.parametrize("case", DEFINED, **IDS)
@pytest.mark.parametrize("warp", WARPS, **IDS)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
@pytest.mark.parametrize("seed", [0, 7])
def test_definition_and_tiles_match(case, warp, per_channel, seed):
    """The voxel-by-voxel definition, and the block algorithms of the CUDA kernels on the host (threads permuted)."""
    (image, coefficients, weights), settings = definition_arguments(*case, warp, per_channel)
    expected = definitions.polynomial_bias_field(image, coefficients, weights, *settings)
    tiled = definitions.tiled_polynomial_bias_field(image, coefficients, weights, *settings, seed)
    np.testing.assert_allclose(tiled, expected, rtol=1e-12)
    ours = torch.ops.medadv.polynomial_bias_field(
        *[torch.tensor(t)[None] for t in (image, coefficients, weights)], *settings
    )
    np.testing.assert_allclose(ours[0], expected, rtol=1e-12)

    grad = np.random.default_rng(1).uniform(0.1, 1, image.shape)
    gradients = definitions.polynomial_bias_field_backward(grad, expected, coefficients, weights, *settings)
    of_tiles = definitions.tiled_polynomial_bias_field_backward(grad, expected, coefficients, weights, *settings, seed)
    tensors = [torch.tensor(t)[None] for t in (grad, expected, coefficients, weights)]
    of_ours = torch.ops.medadv.polynomial_bias_field_parameters_backward(*tensors, *settings, True)
    for want, tile, our in zip(gradients, of_tiles, of_ours, strict=True):
        scale = abs(want).max(initial=1e-300)
        np.testing.assert_allclose(tile, want, rtol=0, atol=1e-11 * scale)
        np.testing.assert_allclose(our[0], want, rtol=0, atol=1e-11 * scale)


@pytest.mark.skipif(not CAN_GUARD, reason="needs Linux")
@pytest.mark.parametrize("at_end", [False, True], ids=["begin", "end"])
@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_definition_and_tiles_read_nothing_past_their_arrays(warp, at_end):
    def run():
        for case in [((1, 5, 6), (3, 4), 2), ((1, 3, 5, 6), (2, 3, 3), 2)]:
            arrays, settings = definition_arguments(*case, warp, False)
            arrays = [guarded(a, at_end=at_end) for a in arrays]
            for name in ("polynomial_bias_field", "tiled_polynomial_bias_field"):
                getattr(definitions, name)(*arrays, *settings)
                getattr(definitions, f"{name}_backward")(arrays[0], *arrays, *settings)

    assert survives(run)


@pytest.mark.parametrize("warp", WARPS, **IDS)
def test_the_order_of_threads_does_not_change_a_bit(warp):
    (image, coefficients, weights), settings = definition_arguments((2, 20, 150), (3, 4), 5, warp, False)
    runs = [
        definitions.tiled_polynomial_bias_field_backward(image, image, coefficients, weights, *settings, seed)
        for seed in (0, 3, 9)
    ]
    for run in runs[1:]:
        for a, b in zip(run, runs[0], strict=True):
            assert np.array_equal(a, b)


def test_terms():
    assert polynomial_terms(0, 3) == [(0, 0, 0)]
    assert polynomial_terms(1, 3) == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    for axes in (2, 3):
        for degree in range(13):
            terms = polynomial_terms(degree, axes)
            assert terms == sorted(set(terms))
            assert all(sum(p) <= degree for p in terms)
            assert len(terms) == math.comb(degree + axes, axes)


def _wrong():
    image, coefficients, control = sample((2, 3, 5, 6), (3, 4), 2, warp="flow")
    return {
        "image must be": (image[0], coefficients, None, {}),
        "coefficients must be \\[N, K, 6\\]": (image, coefficients[..., :5], None, {}),
        "coefficients must be \\[N, K, 10\\]": (image, coefficients, None, {"degree": 3}),
        "degree must be from 0 to 12, got 13": (image, coefficients, None, {"degree": 13}),
        "degree must be from 0 to 12, got -1": (image, coefficients, None, {"degree": -1}),
        "dtype of image": (image, coefficients.float(), None, {}),
        "one entry per image": (image, coefficients[:1], None, {}),
        "1 channel or the image's 3": (image, coefficients.repeat(1, 2, 1), None, {}),
        "float16, bfloat16, float32 or float64": (image.int(), coefficients.int(), None, {}),
        "basis must be one of legendre, monomial": (image, coefficients, None, {"basis": "chebyshev"}),
        "warp must be one of None, thin_plate, flow": (image, coefficients, control, {"warp": "affine"}),
        "control needs a warp": (image, coefficients, control, {}),
        "control must be \\[N, 2, Gy, Gx\\]": (image, coefficients, control[:, :1], {"warp": "flow"}),
        "at least 2 points": (image, coefficients, control[..., :1], {"warp": "thin_plate"}),
        "control must have one entry per image": (image, coefficients, control[:1], {"warp": "flow"}),
        "control must be of a floating dtype": (image, coefficients, control.int(), {"warp": "flow"}),
    }


@pytest.mark.parametrize("sentence", _wrong())
def test_bad_arguments_get_one_sentence(sentence):
    image, coefficients, control, words = _wrong()[sentence]
    with pytest.raises(ValueError, match=sentence) as error:
        polynomial_bias_field(image, coefficients, control, **{"degree": 2, **words})
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("polynomial_bias_field: ")


def test_an_axis_too_long_for_its_indices_is_refused():
    image = torch.empty(1, 1, 1, 1).expand(1, 1, 1, 2**21)
    with pytest.raises(ValueError, match="below 2\\^31"):
        polynomial_bias_field(image, torch.zeros(1, 1, 1), torch.zeros(1, 2, 2, 2**11), degree=0, warp="flow")


@pytest.mark.parametrize(("degree", "axes", "word"), [(-1, 2, "degree"), (2, 4, "axes")])
def test_terms_of_what_is_no_polynomial_are_refused(degree, axes, word):
    with pytest.raises(ValueError, match=f"polynomial_terms: {word} must be"):
        polynomial_terms(degree, axes)


@pytest.mark.parametrize("value", [None, 2.0, "2", True], ids=repr)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("polynomial_terms: degree", lambda value: polynomial_terms(value, 2)),
        ("polynomial_terms: axes", lambda value: polynomial_terms(2, value)),
        (
            "polynomial_bias_field: degree",
            lambda value: polynomial_bias_field(torch.ones(1, 1, 3, 4), torch.zeros(1, 1, 6), degree=value),
        ),
    ],
)
def test_what_is_no_whole_number_is_named(name, call, value):
    with pytest.raises(TypeError, match=f"^{name} must be a whole number, got {value!r}"):
        call(value)


def test_what_is_no_tensor_is_a_type_error():
    image, coefficients, _control = sample((1, 1, 3, 4), (2, 2), 1, warp="flow")
    for name, args in [("image", (1.0, coefficients)), ("coefficients", (image, [0.0]))]:
        with pytest.raises(TypeError, match=f"polynomial_bias_field: {name} must be a torch.Tensor"):
            polynomial_bias_field(*args, degree=1)
    with pytest.raises(TypeError, match=r"polynomial_bias_field: control must be a torch.Tensor, got NoneType"):
        polynomial_bias_field(image, coefficients, degree=1, warp="flow")


def test_a_flow_has_two_control_points_along_every_axis():
    image, terms, weights = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3), torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match=r"control must have at least 2 points along every axis, got \[1, 3\]$"):
        torch.ops.medadv.polynomial_bias_field(image, terms, weights, [1, 3], 1, 0, 2)
