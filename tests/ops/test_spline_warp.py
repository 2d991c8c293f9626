import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import splines, warps
from support.operators import (
    bits_for_threads,
    check_batching,
    check_compiles,
    check_gradients,
    check_layouts,
    check_registration,
    leaves,
)
from support.warps import INTERPOLATIONS, PADDINGS
from torch.autograd import gradcheck

from medadv.ops import bias_field, spline_field, spline_warp, warp

# Largest error that a dtype's rounding explains, for images in [0, 1] and displacements of a few voxels.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
LABELS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
# Axes of one voxel, primes, whole packs and one more; lattices finer than the image; several bands of rows.
CASES = [
    ((1, 1, 1, 1), (4, 4)),
    ((2, 3, 1, 17), (4, 6)),
    ((2, 1, 13, 1), (9, 4)),
    ((2, 2, 31, 37), (5, 7)),
    ((1, 1, 7, 5), (11, 12)),
    ((1, 1, 130, 129), (4, 5)),
    ((1, 2, 5, 6, 7), (4, 5, 4)),
    ((1, 1, 1, 9, 33), (4, 4, 6)),
    ((2, 2, 11, 7, 16), (6, 4, 5)),
]
MODES = list(itertools.product(INTERPOLATIONS, PADDINGS))


def sample(shape, knots, *, dtype=torch.float64, device="cpu", reach=3.0, seed=0):
    """Image in [0, 1], and control points of up to `reach` voxels."""
    g = torch.Generator().manual_seed(seed)
    image = torch.rand(shape, generator=g, dtype=torch.float64)
    lattice = (torch.rand((shape[0], len(knots), *knots), generator=g, dtype=torch.float64) * 2 - 1) * reach
    return image.to(device, dtype), lattice.to(device, dtype)


def reference(image, lattice, interpolation="linear", padding="zeros"):
    return warps.warp(image, splines.spline_field(lattice, image.shape[2:]), interpolation, padding)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "knots"), CASES, ids=str)
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_matches_the_definition(device, dtype, shape, knots, interpolation, padding):
    image, lattice = sample(shape, knots, dtype=dtype, device=device)
    out = spline_warp(image, lattice, interpolation, padding)
    assert out.dtype == dtype
    expected = reference(image, lattice, interpolation, padding)
    torch.testing.assert_close(out.double().cpu(), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "knots"), CASES, ids=str)
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_gradients_match_the_definition(device, dtype, shape, knots, interpolation, padding):
    inputs = leaves(sample(shape, knots, dtype=dtype, device=device))
    grad = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device, dtype)
    got = torch.autograd.grad(spline_warp(*inputs, interpolation, padding), inputs, grad)
    exact = leaves([t.double().cpu() for t in inputs])
    value = reference(*exact, interpolation, padding) + 0 * exact[1].sum()
    expected = torch.autograd.grad(value, exact, grad.double().cpu())
    for g, want in zip(got, expected, strict=True):
        assert g.dtype == dtype
        scale = want.abs().max().item() + 1  # sums of many shares
        torch.testing.assert_close(g.double().cpu(), want, rtol=0, atol=2 * scale * TOLERANCE[dtype])


@pytest.mark.parametrize(("interpolation", "padding"), MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_gradient_wanted_alone_has_the_same_bits(dtype, interpolation, padding):
    image, lattice = leaves(sample((2, 2, 31, 37), (5, 7), dtype=dtype))
    grad = torch.rand_like(image)
    both = torch.autograd.grad(spline_warp(image, lattice, interpolation, padding), [image, lattice], grad)
    to_image = spline_warp(image, lattice.detach(), interpolation, padding)
    assert torch.equal(torch.autograd.grad(to_image, image, grad)[0], both[0])
    to_lattice = spline_warp(image.detach(), lattice, interpolation, padding)
    assert torch.equal(torch.autograd.grad(to_lattice, lattice, grad)[0], both[1])


@pytest.mark.parametrize(("shape", "knots"), [CASES[3], CASES[6]], ids=str)
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_is_the_warp_by_the_field_of_the_lattice(device, shape, knots, interpolation, padding):
    image, lattice = leaves(sample(shape, knots, device=device))
    out = spline_warp(image, lattice, interpolation, padding)
    expected = warp(image, spline_field(lattice, shape[2:]), interpolation, padding)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    grad = torch.rand_like(out)
    for got, want in zip(
        torch.autograd.grad(out, [image, lattice], grad),
        torch.autograd.grad(expected, [image, lattice], grad),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("shape", "knots"), [((2, 2, 4, 5), (4, 5)), ((1, 2, 3, 4, 3), (4, 4, 5))], ids=str)
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_first_derivatives(device, shape, knots, interpolation, padding):
    inputs = leaves(sample(shape, knots, device=device))
    assert gradcheck(lambda x, c: spline_warp(x, c, interpolation, padding), inputs)


@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_derivatives_to_the_image_of_any_order(device, interpolation, padding):
    image, lattice = sample((2, 1, 4, 5), (4, 4), device=device)
    check_gradients(lambda x: spline_warp(x, lattice, interpolation, padding), [image])


def test_second_derivatives_to_the_lattice_are_refused():
    image, lattice = leaves(sample((1, 1, 4, 5), (4, 4)))
    for inputs in ([lattice], [image, lattice]):
        grads = torch.autograd.grad(spline_warp(image, lattice).pow(2).sum(), inputs, create_graph=True)
        with pytest.raises(RuntimeError, match="^spline_warp: second derivatives to the lattice"):
            torch.autograd.grad(grads[-1].sum(), lattice)


def test_registration(device):
    image, lattice = sample((2, 2, 5, 6), (4, 5), device=device)
    ops = torch.ops.medadv
    check_registration(ops.spline_warp.default, (image, lattice, 1, 0))
    check_registration(ops.spline_warp_adjoint.default, (image, lattice, 1, 0))
    for op in (ops.spline_warp_backward.default, ops.spline_warp_lattice_backward.default):
        torch.library.opcheck(op, (image + 1, image, lattice, 1, 0))


def test_layouts(device):
    check_layouts(spline_warp, sample((2, 3, 9, 10), (5, 6), device=device))


def test_compiles(device):
    check_compiles(spline_warp, sample((2, 2, 9, 10), (5, 6), device=device))


def test_compiles_for_any_batch_size():
    compiled = torch.compile(spline_warp, fullgraph=True, dynamic=True)
    for n in (1, 2, 5):
        image, lattice = sample((n, 1, 6, 7), (4, 4))
        torch.testing.assert_close(compiled(image, lattice), spline_warp(image, lattice))


def test_batching(device):
    check_batching(spline_warp, sample((2, 2, 5, 6), (4, 5), device=device))


def test_meta_tensors_give_shapes():
    image, lattice = (t.to("meta") for t in sample((2, 3, 5, 6), (4, 5)))
    assert spline_warp(image, lattice).shape == image.shape


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_computes_in_float32(device, half):
    image, lattice = sample((1, 1, 8, 9), (4, 4), dtype=half, device=device)
    with torch.autocast(device, half):
        out = spline_warp(image, lattice)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double().cpu(), reference(image, lattice), rtol=0, atol=1e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_zero_lattice_is_the_identity_to_the_bit(device, dtype, interpolation):
    image, lattice = sample((2, 2, 37, 41), (5, 6), dtype=dtype, device=device)
    for padding in PADDINGS:
        assert torch.equal(spline_warp(image, torch.zeros_like(lattice), interpolation, padding), image)


def test_an_affine_lattice_moves_affinely(device):
    # A spline reproduces linear functions: control point k along the width stands at (k - 1) * 4 voxels.
    shift = 0.25 * 4 * torch.arange(-1.0, 5.0, dtype=torch.float64, device=device)
    lattice = torch.stack([torch.zeros(4, 6, dtype=torch.float64, device=device), shift.expand(4, 6)])[None]
    ramp = torch.arange(13.0, dtype=torch.float64, device=device).expand(1, 1, 5, 13)
    torch.testing.assert_close(
        spline_warp(ramp, lattice, padding="border")[0, 0, 0], (1.25 * ramp[0, 0, 0]).clamp(max=12)
    )


@pytest.mark.parametrize("dtype", LABELS, ids=str)
@pytest.mark.parametrize("shape_knots", [CASES[3], CASES[6]], ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
def test_labels(device, dtype, shape_knots, padding):
    shape, knots = shape_knots
    _, lattice = sample(shape, knots, dtype=torch.float32, device=device)
    labels = torch.randint(0, 2 if dtype == torch.bool else 100, shape, device=device).to(dtype)
    out = spline_warp(labels, lattice.requires_grad_(), "nearest", padding)
    assert out.dtype == dtype
    assert not out.requires_grad
    assert torch.equal(out.double().cpu(), reference(labels, lattice.detach(), "nearest", padding))


def test_an_image_and_its_labels_move_together(device):
    labels, lattice = sample((1, 1, 30, 40), (5, 6), dtype=torch.float32, device=device)
    labels = (labels * 5).long()
    moved = spline_warp(labels, lattice, "nearest")
    assert torch.equal(moved.float(), spline_warp(labels.float(), lattice, "nearest"))


@pytest.mark.parametrize("shape_knots", [((3, 2, 97, 230), (5, 10)), ((2, 1, 20, 50, 61), (6, 7, 8))], ids=str)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_same_bits_for_any_number_of_threads(shape_knots, interpolation):
    image, lattice = leaves(sample(*shape_knots, dtype=torch.float32))

    def run():
        out = spline_warp(image, lattice, interpolation)
        alone = torch.autograd.grad(spline_warp(image.detach(), lattice, interpolation), lattice, out.detach())
        return [out.detach(), *torch.autograd.grad(out, [image, lattice], out.detach()), *alone]

    one, two, three = bits_for_threads(run, (1, 2, 3))
    assert torch.equal(one[2], one[3])
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize(
    ("shape_knots", "dtype"),
    [(((1, 1, 600, 130), (9, 10)), torch.float16), (((1, 2, 40, 50, 61), (6, 7, 8)), torch.float32)],
    ids=str,
)
@pytest.mark.parametrize("reach", [4.0, 60.0, 2000.0])
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_same_bits_for_one_image(shape_knots, dtype, reach, interpolation, padding):
    image, lattice = sample(*shape_knots, dtype=dtype, reach=reach)
    if reach == 4.0:
        lattice.view(-1)[7] = torch.nan
    grad, inputs = torch.rand_like(image), leaves([image, lattice])

    def run():
        return torch.autograd.grad(spline_warp(*inputs, interpolation, padding), inputs, grad)

    for results in zip(*bits_for_threads(run, (1, 2, 7)), strict=True):
        for other in results[1:]:
            torch.testing.assert_close(other, results[0], rtol=0, atol=0, equal_nan=True)


# Rows that all move one way: past an end, where the padding brings them back into a part far away, or not at all.
@pytest.mark.parametrize(
    "shape_knots", [((1, 1, 600, 130), (9, 10)), ((1, 1, 40, 30, 61), (6, 7, 8))], ids=lambda case: str(case[0])
)
@pytest.mark.parametrize("shift", [-1.6, -0.7, 0.7, 1.6], ids="{:+} of the image".format)
@pytest.mark.parametrize("padding", PADDINGS)
def test_same_bits_where_rows_move_one_way(shape_knots, shift, padding):
    image, lattice = sample(*shape_knots, dtype=torch.float32)
    lattice[:, 0] += shift * image.shape[2]
    inputs, grad = leaves([image, lattice]), torch.rand_like(image)

    def run():
        return torch.autograd.grad(spline_warp(*inputs, "linear", padding), inputs, grad)

    for results in zip(*bits_for_threads(run, (1, 2, 7)), strict=True):
        assert all(torch.equal(other, results[0]) for other in results[1:])


def test_an_example_does_not_depend_on_its_batch(device):
    image, lattice = sample((5, 1, 40, 50), (5, 6), dtype=torch.float32, device=device)
    whole = spline_warp(image, lattice)
    for i in range(5):
        assert torch.equal(spline_warp(image[i : i + 1], lattice[i : i + 1])[0], whole[i])


@settings(max_examples=60, deadline=None)
@given(
    geometry=st.one_of(
        st.tuples(st.tuples(st.integers(1, 30), st.integers(1, 50)), st.tuples(*[st.integers(4, 12)] * 2)),
        st.tuples(
            st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 20)), st.tuples(*[st.integers(4, 8)] * 3)
        ),
    ),
    mode=st.sampled_from([m for m in MODES if m[0] != "nearest"]),  # which jumps where a position is rounded
    reach=st.floats(0.0, 100.0),
)
def test_any_geometry_and_reach(geometry, mode, reach):
    size, knots = geometry
    image, lattice = sample((1, 1, *size), knots, reach=reach)
    torch.testing.assert_close(spline_warp(image, lattice, *mode), reference(image, lattice, *mode), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(0, 1, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (2, 1, 5, 0), (1, 1, 0, 4, 4)], ids=str)
def test_empty_images(device, shape):
    axes = len(shape) - 2
    image = torch.rand(shape, device=device, requires_grad=True)
    lattice = torch.zeros(shape[0], axes, *[4] * axes, device=device, requires_grad=True)
    out = spline_warp(image, lattice)
    assert out.shape == image.shape
    grads = torch.autograd.grad(out.sum(), [image, lattice])
    assert [g.shape for g in grads] == [image.shape, lattice.shape]
    assert not grads[1].any()


def test_warps_and_bias_fields_chain(device):
    image, lattice = leaves(sample((1, 1, 12, 13), (4, 4), device=device))
    bias = torch.full((1, 1, 4, 4), 0.1, dtype=image.dtype, device=device)
    expected = warps.warp(image, splines.spline_field(lattice, (12, 13))).to(device) * torch.tensor(0.1).exp()
    torch.testing.assert_close(bias_field(spline_warp(image, lattice), bias), expected, rtol=1e-6, atol=1e-6)


def _wrong():
    image, lattice = sample((2, 3, 5, 6), (4, 4))
    return [
        ("image must be", (image[0], lattice)),
        ("lattice must be \\[N, K, Gy, Gx\\]", (image, lattice[0])),
        ("at least 4 control points", (image, lattice[..., :3])),
        ("dtype of image", (image, lattice.float())),
        ("one entry per image", (image, lattice[:1])),
        ("one component per axis of the image, 2, got 1", (image, lattice[:, :1])),
        ("interpolation must be one of nearest, linear, cubic, got 3", (image, lattice, 3)),
        ("padding must be one of zeros, border, reflection, got None", (image, lattice, "linear", None)),
        ("must be sampled with interpolation nearest, got cubic", (image.int(), lattice.float(), "cubic")),
        ("lattice must be float32 for an image of integers", (image.int(), lattice, "nearest")),
    ]


@pytest.mark.parametrize(("sentence", "args"), _wrong(), ids=[s for s, _ in _wrong()])
def test_bad_arguments_get_one_sentence(sentence, args):
    with pytest.raises(ValueError, match=sentence) as error:
        spline_warp(*args)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("spline_warp: ")


@pytest.mark.parametrize(("name", "args"), [("image", (1.0, 2.0)), ("lattice", (torch.ones(1, 1, 2, 2), [0.0]))])
def test_what_is_no_tensor_is_a_type_error(name, args):
    with pytest.raises(TypeError, match=f"spline_warp: {name} must be a torch.Tensor"):
        spline_warp(*args)
