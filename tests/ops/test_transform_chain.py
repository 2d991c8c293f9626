import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import splines, warps
from support.operators import (
    bits_for_threads,
    check_batching,
    check_compiles,
    check_layouts,
    check_registration,
    leaves,
)
from support.warps import INTERPOLATIONS, PADDINGS
from torch.autograd import gradcheck

from medadv._core import definitions
from medadv.ops import bias_field, spline_warp, transform_chain

# Largest error that a dtype's rounding explains, for images in [0, 1] and displacements of a few voxels. Half types
# round once more than the composition of float32 would: what is sampled is stored.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
MODES = list(itertools.product(INTERPOLATIONS, PADDINGS))
SUBSETS = list(itertools.product([False, True], repeat=4))  # displacement, log_gain, noise, bounds
BOUNDS, ORIGIN = (0.2, 0.9), -0.3
# Shape, control points of the displacement, and of the gain: finer and coarser than each other and than the image,
# several bands of rows, axes of one voxel.
CASES = [
    ((1, 1, 1, 1), (4, 4), (5, 4)),
    ((2, 3, 1, 17), (4, 6), (4, 4)),
    ((2, 2, 31, 37), (5, 7), (9, 4)),
    ((1, 1, 300, 129), (4, 5), (7, 12)),
    ((1, 2, 7, 5), (11, 12), (4, 4)),
    ((2, 2, 11, 7, 16), (6, 4, 5), (4, 7, 4)),
    ((1, 1, 1, 9, 33), (4, 4, 6), (4, 5, 4)),
]


def sample(shape, motion, gain, *, per_channel=False, dtype=torch.float64, device="cpu", reach=3.0, seed=0):
    """Image in [0, 1], lattices of displacements of up to `reach` voxels and of gains within 1.5, noise within 0.1."""
    g = torch.Generator().manual_seed(seed)
    channels = shape[1] if per_channel else 1

    def uniform(size, reach):
        return (torch.rand(size, generator=g, dtype=torch.float64) * 2 - 1) * reach

    image = torch.rand(shape, generator=g, dtype=torch.float64)
    tensors = [
        image,
        uniform((shape[0], len(motion), *motion), reach),
        uniform((shape[0], channels, *gain), 0.4),
        uniform((shape[0], channels, *shape[2:]), 0.1),
    ]
    return [t.to(device, dtype) for t in tensors]


def composition(image, displacement=None, log_gain=None, noise=None, bounds=None, *, origin=0.0, **modes):
    """The single operators, one after the other."""
    out = image if displacement is None else spline_warp(image, displacement, **modes)
    if log_gain is not None:
        out = bias_field(out - origin, log_gain) + origin
    if noise is not None:
        out = out + noise
    return out if bounds is None else out.clamp(*bounds)


def reference(image, displacement, log_gain, noise, bounds, *, origin=0.0, interpolation="linear", padding="zeros"):
    """The textbook's, in float64."""
    size = image.shape[2:]
    out = warps.warp(image, splines.spline_field(displacement, size), interpolation, padding)
    gain = splines.spline_field(log_gain, size).exp()
    return (origin + (out - origin) * gain + noise.double().cpu()).clamp(*bounds)


def chain(image, displacement, log_gain, noise):
    return transform_chain(image, displacement, log_gain, noise, BOUNDS, origin=ORIGIN)


def chosen(tensors, subset):
    """The arguments of a chain that has some of its stages."""
    image, *stages = tensors
    bounds = BOUNDS if subset[3] else None
    return image, *(t if use else None for t, use in zip(stages, subset[:3], strict=True)), bounds


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_matches_the_definition(device, dtype, case, interpolation, padding):
    inputs = sample(*case, dtype=dtype, device=device)
    modes = {"origin": ORIGIN, "interpolation": interpolation, "padding": padding}
    out = transform_chain(*inputs, BOUNDS, **modes)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double().cpu(), reference(*inputs, BOUNDS, **modes), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("subset", SUBSETS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_is_the_composition_of_the_single_operators(device, subset, case, per_channel, interpolation):
    tensors = leaves(sample(*case, per_channel=per_channel, device=device))
    arguments = chosen(tensors, subset)
    inputs = [t for t in arguments[:4] if t is not None]
    modes = {"origin": ORIGIN, "interpolation": interpolation, "padding": "reflection"}
    out, expected = transform_chain(*arguments, **modes), composition(*arguments, **modes)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    grad = torch.rand(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype).to(device)
    for got, want in zip(
        torch.autograd.grad(out, inputs, grad, allow_unused=True),
        torch.autograd.grad(expected, inputs, grad, allow_unused=True),
        strict=True,
    ):
        if want is None:  # of a nearest warp to its lattice
            assert got is None or not got.any()
        else:
            torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
def test_gradients_in_lower_precision(device, dtype, case, per_channel):
    inputs = leaves(sample(*case, per_channel=per_channel, dtype=dtype, device=device))
    exact = leaves([t.double() for t in inputs])
    arguments = {"origin": ORIGIN, "padding": "border"}  # without bounds: rounding decides what lies on them
    out = transform_chain(*inputs, **arguments)
    grad = torch.rand(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device, dtype)
    got = torch.autograd.grad(out, inputs, grad)
    expected = torch.autograd.grad(composition(*exact, **arguments), exact, grad.double())
    for g, want in zip(got, expected, strict=True):
        assert g.dtype == dtype
        scale = want.abs().max().item() + 1  # sums of many shares
        torch.testing.assert_close(g.double(), want, rtol=0, atol=2 * scale * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
def test_a_gradient_wanted_alone_has_the_same_bits(dtype, interpolation, per_channel):
    inputs = leaves(sample((2, 2, 31, 37), (5, 7), (9, 4), per_channel=per_channel, dtype=dtype))
    grad = torch.rand_like(inputs[0])

    def run(wanted):
        arguments = [t if k in wanted else t.detach() for k, t in enumerate(inputs)]
        out = transform_chain(*arguments, BOUNDS, origin=ORIGIN, interpolation=interpolation)
        return torch.autograd.grad(out, [arguments[k] for k in wanted], grad)

    together = run(range(4))
    for wanted in [(0,), (1,), (2,), (3,), (0, 2), (1, 3)]:
        for k, alone in zip(wanted, run(wanted), strict=True):
            assert torch.equal(alone, together[k])


@pytest.mark.parametrize(
    ("shape", "motion", "gain"), [((2, 2, 4, 5), (4, 5), (5, 4)), ((1, 2, 3, 4, 3), (4,) * 3, (4, 5, 4))]
)
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
def test_first_derivatives(device, shape, motion, gain, interpolation, padding, per_channel):
    inputs = leaves(sample(shape, motion, gain, per_channel=per_channel, device=device))
    modes = {"origin": ORIGIN, "interpolation": interpolation, "padding": padding}
    assert gradcheck(lambda *tensors: transform_chain(*tensors, BOUNDS, **modes), inputs)


def test_the_derivative_of_the_clip_is_that_of_clamp(device):
    image = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.75, 1.0, torch.nan, torch.inf, -torch.inf], device=device)
    image = image.reshape(1, 1, 1, 9).requires_grad_()
    noise = torch.zeros_like(image).requires_grad_()
    out, expected = transform_chain(image, noise=noise, bounds=(0.25, 0.75)), (image + noise).clamp(0.25, 0.75)
    assert torch.equal(out.nan_to_num(7), expected.nan_to_num(7))
    got = torch.autograd.grad(out.sum(), [image, noise])
    want = torch.autograd.grad(expected.sum(), [image, noise])
    assert [g.flatten().tolist() for g in got] == [[0, 0, 1, 1, 1, 0, 0, 0, 0]] * 2
    # At the bounds themselves torch's own derivative is 1 up to version 2.13, and 0 from 2.14 on.
    elsewhere = ((image != 0.25) & (image != 0.75)).detach()
    for g, w in zip(got, want, strict=True):
        assert torch.equal(g[elsewhere], w[elsewhere])


def test_second_derivatives_are_refused():
    inputs = leaves(sample((1, 1, 4, 5), (4, 4), (4, 4)))
    grads = torch.autograd.grad(chain(*inputs).pow(2).sum(), inputs, create_graph=True)
    for grad in grads:
        with pytest.raises(RuntimeError, match="^transform_chain: second derivatives are not defined here"):
            torch.autograd.grad(grad.sum(), inputs, retain_graph=True)


def test_one_stage_is_the_single_operator_to_the_bit(device):
    image, displacement, log_gain, _ = leaves(
        sample((2, 2, 31, 37), (5, 7), (9, 4), dtype=torch.float32, device=device)
    )
    for interpolation in INTERPOLATIONS:
        out = transform_chain(image, displacement, interpolation=interpolation)
        assert torch.equal(out, spline_warp(image, displacement, interpolation))
    out = transform_chain(image, log_gain=log_gain)
    assert torch.equal(out, bias_field(image, log_gain))
    grad = torch.autograd.grad(out.pow(2).sum(), log_gain, create_graph=True)[0]
    assert torch.autograd.grad(grad.sum(), log_gain)[0].any()  # which has second derivatives
    labels = torch.randint(0, 5, image.shape, device=device)
    moved = transform_chain(labels, displacement.detach(), interpolation="nearest")
    assert torch.equal(moved, spline_warp(labels, displacement, "nearest"))


def test_no_stage_is_a_copy(device):
    image = torch.rand(2, 3, 9, 10, device=device).transpose(1, 3).requires_grad_()
    out = transform_chain(image)
    assert out.is_contiguous()
    assert torch.equal(out, image)
    assert out.data_ptr() != image.data_ptr()
    assert torch.equal(torch.autograd.grad(out, image, 2 * out.detach())[0], 2 * image)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_stages_of_zeros_are_the_identity_to_the_bit(device, dtype):
    image, *stages = sample((2, 2, 37, 41), (5, 6), (4, 4), dtype=dtype, device=device)
    zeros = [torch.zeros_like(t) for t in stages]
    for interpolation in INTERPOLATIONS:
        assert torch.equal(transform_chain(image, *zeros, (0.0, 1.0), interpolation=interpolation), image)


@pytest.mark.parametrize("origin", [-1000.0, 0.0, 40.0])
def test_a_gain_leaves_its_origin_as_it_is(device, origin):
    air = torch.full((1, 1, 5, 6), origin, device=device)
    out = transform_chain(air, log_gain=torch.randn(1, 1, 4, 4, device=device), origin=origin)
    assert torch.equal(out, air)


def test_bounds_hold_to_the_bit(device):
    inputs = sample((2, 2, 31, 37), (5, 7), (9, 4), dtype=torch.float32, device=device)
    out = transform_chain(*inputs, (0.1, 0.7))
    assert out.min() == torch.tensor(0.1, device=device)
    assert out.max() == torch.tensor(0.7, device=device)
    assert torch.equal(transform_chain(*inputs, (0.4, 0.4)), torch.full_like(out, 0.4))


@pytest.mark.parametrize("subset", SUBSETS, ids=str)
@pytest.mark.parametrize("case", [CASES[2], CASES[5]], ids=str)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
def test_matches_the_voxel_by_voxel_definition(subset, case, interpolation, per_channel):
    tensors = leaves(sample(*case, per_channel=per_channel))
    image, *stages, bounds = chosen(tensors, subset)
    out = transform_chain(image, *stages, bounds, origin=ORIGIN, interpolation=interpolation)
    grad = torch.rand_like(out)
    inputs = [t for t in (image, *stages) if t is not None]
    got = torch.autograd.grad(out, inputs, grad, allow_unused=True)
    arrays = [None if t is None else t.detach().numpy() for t in (image, *stages)]
    settings = ([*bounds] if bounds else [], ORIGIN, INTERPOLATIONS.index(interpolation), 0)
    np.testing.assert_allclose(
        definitions.transform_chain(*arrays, *settings), out.detach().numpy(), rtol=0, atol=1e-13
    )
    defined = definitions.transform_chain_gradients(grad.numpy(), *arrays, *settings)
    for g, want in zip(got, [d for d in defined if d is not None], strict=True):
        np.testing.assert_allclose(want, 0 if g is None else g.numpy(), rtol=0, atol=1e-11)


def test_registration(device):
    image, displacement, log_gain, noise = sample((2, 2, 5, 6), (4, 5), (5, 4), device=device)
    ops = torch.ops.medadv
    for stages in [(displacement, log_gain, noise), (None, log_gain, None), (displacement, None, noise)]:
        for bounds in ([], [0.2, 0.9]):
            check_registration(ops.transform_chain.default, (image, *stages, bounds, -0.5, 1, 0))
    arguments = (image + 1, image, displacement, log_gain, noise, [0.2, 0.9], -0.5, 1, 0)
    for wanted in (15, 6, 1, 0):
        torch.library.opcheck(ops.transform_chain_backward.default, (*arguments, wanted))


def test_layouts(device):
    check_layouts(chain, sample((2, 3, 9, 10), (5, 6), (6, 5), per_channel=True, device=device))


def test_compiles(device):
    check_compiles(chain, sample((2, 2, 9, 10), (5, 6), (6, 5), device=device))


def test_compiles_without_some_stages(device):
    image, displacement, log_gain, noise = sample((2, 2, 9, 10), (5, 6), (6, 5), device=device)
    check_compiles(lambda x, c: transform_chain(x, log_gain=c, bounds=(0.0, 1.0)), [image, log_gain])
    check_compiles(lambda x, d, n: transform_chain(x, d, noise=n, padding="border"), [image, displacement, noise])


def test_compiles_for_any_batch_size():
    compiled = torch.compile(chain, fullgraph=True, dynamic=True)
    for n in (1, 2, 5):
        inputs = sample((n, 1, 6, 7), (4, 4), (4, 5))
        torch.testing.assert_close(compiled(*inputs), chain(*inputs))


def test_batching(device):
    inputs = sample((2, 2, 5, 6), (4, 5), (5, 4), device=device)
    check_batching(chain, inputs)
    check_batching(lambda x, n: transform_chain(x, noise=n, bounds=BOUNDS), [inputs[0], inputs[3]])


def test_batched_gradients(device):
    inputs = leaves(sample((2, 2, 5, 6), (4, 5), (5, 4), device=device))
    out = chain(*inputs)
    grads = torch.stack([torch.rand_like(out) for _ in range(3)])
    batched = torch.autograd.grad(out, inputs, grads, is_grads_batched=True, retain_graph=True)
    for k in range(3):
        for got, want in zip(batched, torch.autograd.grad(out, inputs, grads[k], retain_graph=True), strict=True):
            torch.testing.assert_close(got[k], want)


def test_meta_tensors_give_shapes():
    inputs = [t.to("meta") for t in sample((2, 3, 5, 6), (4, 4), (4, 4))]
    assert chain(*inputs).shape == (2, 3, 5, 6)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_computes_in_float32(device, half):
    inputs = sample((1, 1, 8, 9), (4, 4), (4, 5), dtype=half, device=device)
    with torch.autocast(device, half):
        out = transform_chain(*inputs, BOUNDS)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double().cpu(), reference(*inputs, BOUNDS), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "case", [((3, 2, 97, 230), (5, 10), (6, 4)), ((2, 1, 20, 50, 61), (6, 7, 8), (4, 9, 5))], ids=str
)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_same_bits_for_any_number_of_threads(case, interpolation):
    inputs = leaves(sample(*case, dtype=torch.float32))

    def run():
        out = transform_chain(*inputs, BOUNDS, interpolation=interpolation)
        image = inputs[0].detach()
        to_stages = transform_chain(image, *inputs[1:], BOUNDS, interpolation=interpolation)
        grad = out.detach()
        alone = torch.autograd.grad(to_stages, inputs[1:], grad)
        return [grad, *torch.autograd.grad(out, inputs, grad), *alone]

    one, two, three = bits_for_threads(run, (1, 2, 3))
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize(
    ("case", "dtype", "bounds"),
    [
        (((1, 1, 600, 130), (9, 10), (6, 4)), torch.float32, BOUNDS),
        (((1, 2, 40, 50, 61), (6, 7, 8), (4, 9, 5)), torch.float16, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("reach", [4.0, 60.0])
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_same_bits_for_one_image(case, dtype, reach, interpolation, padding, bounds):
    inputs = leaves(sample(*case, dtype=dtype, reach=reach))
    grad = torch.rand_like(inputs[0])

    def run():
        out = transform_chain(*inputs, bounds, interpolation=interpolation, padding=padding)
        return torch.autograd.grad(out, inputs, grad)

    for results in zip(*bits_for_threads(run, (1, 2, 7)), strict=True):
        assert all(torch.equal(other, results[0]) for other in results[1:])


def test_an_example_does_not_depend_on_its_batch(device):
    inputs = sample((5, 1, 40, 50), (5, 6), (4, 7), dtype=torch.float32, device=device)
    whole = chain(*inputs)
    for i in range(5):
        assert torch.equal(chain(*[t[i : i + 1] for t in inputs])[0], whole[i])


@settings(max_examples=60, deadline=None)
@given(
    geometry=st.one_of(
        st.tuples(st.tuples(st.integers(1, 30), st.integers(1, 50)), *[st.tuples(*[st.integers(4, 12)] * 2)] * 2),
        st.tuples(
            st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 20)),
            *[st.tuples(*[st.integers(4, 8)] * 3)] * 2,
        ),
    ),
    mode=st.sampled_from([m for m in MODES if m[0] != "nearest"]),  # which jumps where a position is rounded
    subset=st.sampled_from(SUBSETS),
    reach=st.floats(0.0, 100.0),
    origin=st.floats(-2.0, 2.0),
    channels=st.integers(1, 3),
    per_channel=st.booleans(),
)
def test_any_geometry_and_stages(geometry, mode, subset, reach, origin, channels, per_channel):
    size, motion, gain = geometry
    tensors = sample((1, channels, *size), motion, gain, per_channel=per_channel, reach=reach)
    arguments = chosen(tensors, subset)
    modes = {"origin": origin, "interpolation": mode[0], "padding": mode[1]}
    torch.testing.assert_close(
        transform_chain(*arguments, **modes), composition(*arguments, **modes), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("shape", [(0, 1, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (2, 1, 5, 0), (1, 1, 0, 4, 4)], ids=str)
def test_empty_images(device, shape):
    axes = len(shape) - 2
    inputs = [
        torch.rand(shape, device=device),
        torch.zeros(shape[0], axes, *[4] * axes, device=device),
        torch.zeros(shape[0], 1, *[4] * axes, device=device),
        torch.zeros(shape[0], 1, *shape[2:], device=device),
    ]
    inputs = leaves(inputs)
    out = chain(*inputs)
    assert out.shape == shape
    grads = torch.autograd.grad(out.sum(), inputs)
    assert [g.shape for g in grads] == [t.shape for t in inputs]
    assert not any(g.any() for g in grads)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_only_the_gradient_to_a_displaced_image_is_refused_where_it_must_be_deterministic():
    image, displacement, log_gain, noise = leaves(sample((1, 1, 8, 9), (4, 4), (4, 5), device="cuda"))
    torch.use_deterministic_algorithms(True)
    try:
        out = chain(image, displacement, log_gain, noise)
        with pytest.raises(RuntimeError, match="^transform_chain: the gradient to the image is not deterministic"):
            torch.autograd.grad(out.sum(), image)
        torch.autograd.grad(chain(image.detach(), displacement, log_gain, noise).sum(), [displacement, log_gain, noise])
        torch.autograd.grad(chain(image, None, log_gain, noise).sum(), [image, log_gain, noise])
    finally:
        torch.use_deterministic_algorithms(False)


def _wrong():
    image, displacement, log_gain, noise = sample((2, 3, 5, 6), (4, 4), (4, 4))
    clip = (0.0, 1.0)
    return [
        ("image must be", (image[0], displacement, log_gain), {}),
        ("displacement must be \\[N, K, Gy, Gx\\]", (image, displacement[0], log_gain), {}),
        ("displacement must have at least 4 control points", (image, displacement[..., :3], log_gain), {}),
        ("displacement must have the dtype of image", (image, displacement.float(), log_gain), {}),
        ("displacement must have one entry per image", (image, displacement[:1], log_gain), {}),
        ("displacement must have one component per axis of the image, 2, got 1", (image, displacement[:, :1]), {}),
        ("log_gain must be \\[N, K, Gy, Gx\\]", (image, displacement, log_gain[0]), {}),
        ("log_gain must have at least 4 control points", (image, displacement, log_gain[..., :3]), {}),
        ("log_gain must have the dtype of image", (image, displacement, log_gain.float()), {}),
        ("log_gain must have one entry per image", (image, displacement, log_gain[:1]), {}),
        ("log_gain must have 1 channel or the image's 3, got 2", (image, None, log_gain.expand(2, 2, 4, 4)), {}),
        ("noise must have the shape of image", (image, None, None, noise[..., :3]), {}),
        ("noise must have the shape of image", (image, None, None, noise[:1]), {}),
        ("noise must have the dtype of image", (image, None, None, noise.float()), {}),
        ("bounds must be low and high, low not above high", (image, None, None, None, (1.0, 0.0)), {}),
        ("bounds must be low and high, low not above high", (image, None, None, None, (float("nan"), 1.0)), {}),
        ("origin must be finite, got inf", (image, None, log_gain), {"origin": float("inf")}),
        ("interpolation must be one of nearest, linear, cubic, got 3", (image, displacement), {"interpolation": 3}),
        ("padding must be one of zeros, border, reflection, got None", (image, displacement), {"padding": None}),
        ("image must be float16, bfloat16, float32 or float64", (image.int(), None, None, None, clip), {}),
    ]


@pytest.mark.parametrize(("sentence", "args", "options"), _wrong(), ids=[s for s, *_ in _wrong()])
def test_bad_arguments_get_one_sentence(sentence, args, options):
    padded = [*args, *[None] * (5 - len(args))]
    if padded[4] is None:
        padded[4] = (0.0, 1.0)  # more than one stage
    with pytest.raises(ValueError, match=sentence) as error:
        transform_chain(*padded, **options)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("transform_chain: ")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("image must be a torch.Tensor", {"image": 1.0}),
        ("displacement must be a torch.Tensor", {"displacement": [0.0]}),
        ("log_gain must be a torch.Tensor", {"log_gain": 0.1}),
        ("noise must be a torch.Tensor", {"noise": 0.1}),
        ("bounds must be two numbers", {"bounds": 1.0}),
        ("bounds must be two numbers", {"bounds": (0.0, None)}),
        ("origin must be a number", {"origin": "air"}),
    ],
)
def test_what_is_of_another_type_is_a_type_error(name, arguments):
    with pytest.raises(TypeError, match=f"^transform_chain: {name}"):
        transform_chain(**{"image": torch.ones(1, 1, 2, 2), **arguments})
