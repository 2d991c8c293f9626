import itertools
import math

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support import warps
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

from medadv._core import definitions
from medadv.ops import warp

# Largest error that a dtype's rounding explains, for images in [0, 1]: cubic weights sum to 2 in 3D.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
LABELS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
# Axes of one voxel, of two, primes, whole packs and one more than those.
SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 1, 17),
    (1, 1, 13, 1),
    (1, 2, 2, 2),
    (2, 2, 31, 37),
    (1, 1, 64, 49),
    (1, 2, 5, 6, 7),
    (1, 1, 1, 9, 33),
    (2, 2, 11, 4, 16),
]
MODES = list(itertools.product(INTERPOLATIONS, PADDINGS))


def sample(shape, *, dtype=torch.float64, device="cpu", reach=3.0, seed=0):
    """Image in [0, 1], and displacements of up to `reach` voxels, also out of the image."""
    g = torch.Generator().manual_seed(seed)
    image = torch.rand(shape, generator=g, dtype=torch.float64)
    size = (shape[0], len(shape) - 2, *shape[2:])
    displacement = (torch.rand(size, generator=g, dtype=torch.float64) * 2 - 1) * reach
    return image.to(device, dtype), displacement.to(device, dtype)


def away_from_kinks(displacement):
    """The same displacements, but at least 0.1 voxels from every voxel's centre."""
    return displacement.floor() + 0.1 + 0.8 * (displacement - displacement.floor())


def grid_sample(image, displacement, interpolation, padding):
    """The same by torch, which has no cubic interpolation in 3D."""
    size = image.shape[2:]
    axes = torch.meshgrid(*[torch.arange(n, dtype=image.dtype) for n in size], indexing="ij")
    grid = [(axis + displacement[:, k]) * 2 / (n - 1) - 1 for k, (axis, n) in enumerate(zip(axes, size, strict=True))]
    mode = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}[interpolation]
    return F.grid_sample(image, torch.stack(grid[::-1], -1), mode=mode, padding_mode=padding, align_corners=True)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_matches_the_definition(device, dtype, shape, interpolation, padding):
    image, displacement = sample(shape, dtype=dtype, device=device)
    out = warp(image, displacement, interpolation, padding)
    assert out.dtype == dtype
    expected = warps.warp(image, displacement, interpolation, padding)
    torch.testing.assert_close(out.double().cpu(), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_gradients_match_the_definition(device, dtype, shape, interpolation, padding):
    inputs = leaves(sample(shape, dtype=dtype, device=device))
    grad = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device, dtype)
    got = torch.autograd.grad(warp(*inputs, interpolation, padding), inputs, grad)
    exact = leaves([t.double().cpu() for t in inputs])
    value = warps.warp(*exact, interpolation, padding) + 0 * exact[1].sum()
    expected = torch.autograd.grad(value, exact, grad.double().cpu())
    for g, want in zip(got, expected, strict=True):
        assert g.dtype == dtype
        scale = want.abs().max().item() + 1  # sums of many shares
        torch.testing.assert_close(g.double().cpu(), want, rtol=0, atol=2 * scale * TOLERANCE[dtype])


@pytest.mark.parametrize(("interpolation", "padding"), MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_gradient_wanted_alone_has_the_same_bits(dtype, interpolation, padding):
    image, displacement = leaves(sample((2, 2, 31, 37), dtype=dtype))
    grad = torch.rand_like(image)
    both = torch.autograd.grad(warp(image, displacement, interpolation, padding), [image, displacement], grad)
    to_image = warp(image, displacement.detach(), interpolation, padding)
    assert torch.equal(torch.autograd.grad(to_image, image, grad)[0], both[0])
    to_displacement = warp(image.detach(), displacement, interpolation, padding)
    assert torch.equal(torch.autograd.grad(to_displacement, displacement, grad)[0], both[1])


@pytest.mark.parametrize(
    ("shape", "interpolation"),
    [((2, 3, 9, 13), mode) for mode in INTERPOLATIONS] + [((1, 2, 5, 6, 7), mode) for mode in ("nearest", "linear")],
)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("reach", [0.7, 4.0, 60.0])
def test_agrees_with_grid_sample(shape, interpolation, padding, reach):
    image, displacement = leaves(sample(shape, reach=reach))
    out, expected = (f(image, displacement, interpolation, padding) for f in (warp, grid_sample))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-11)
    grad = torch.rand_like(image)
    for got, want in zip(
        torch.autograd.grad(out, [image, displacement], grad),
        torch.autograd.grad(expected, [image, displacement], grad),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1, 19, 23), (1, 1, 7, 8, 9)], ids=str)
@pytest.mark.parametrize(
    ("padding", "mode"), [("zeros", "grid-constant"), ("border", "nearest"), ("reflection", "mirror")]
)
@pytest.mark.parametrize("order", [0, 1])
def test_agrees_with_scipy(shape, padding, mode, order):
    image, displacement = sample(shape, reach=9.0)
    positions = np.stack(np.meshgrid(*map(np.arange, shape[2:]), indexing="ij")) + displacement[0].numpy()
    expected = scipy.ndimage.map_coordinates(image[0, 0].numpy(), positions, order=order, mode=mode, prefilter=False)
    out = warp(image, displacement, ("nearest", "linear")[order], padding)
    np.testing.assert_allclose(out[0, 0].numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (1, 2, 4, 5, 3)], ids=str)
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_matches_the_voxel_by_voxel_definition(shape, interpolation, padding):
    image, displacement = leaves(sample((1, 1, *shape[2:])))
    words = INTERPOLATIONS.index(interpolation), PADDINGS.index(padding)
    out = warp(image, displacement, interpolation, padding)
    x, d = image.detach()[0, 0].numpy(), displacement.detach()[0].numpy()
    np.testing.assert_allclose(out.detach()[0, 0].numpy(), definitions.warp(x, d, *words), rtol=0, atol=1e-13)
    grad = torch.rand_like(out)
    got = torch.autograd.grad(out, [image, displacement], grad)
    for g, want in zip(got, definitions.warp_gradients(grad[0, 0].numpy(), x, d, *words), strict=True):
        np.testing.assert_allclose(g[0].numpy().reshape(want.shape), want, rtol=0, atol=1e-12)


def landings(rng, n, size, reach):
    """Offsets that mostly go on voxel by voxel, with steps of 0 and 2, jumps, and voxels that land nowhere."""
    steps = rng.choice([1, 1, 1, 1, 0, 2, 37, -5], n)
    first = np.cumsum(steps) + rng.integers(0, max(1, size - reach))
    first = np.where(rng.random(n) < 0.1, -1, first % max(1, size - reach + 1))
    return first.astype(np.int32)


@pytest.mark.parametrize(("lines", "width"), [([0, 40], 2), ([0, 40, 200, 240], 2), ([0, 40, 80, 120], 4)])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 64, 173])
@pytest.mark.parametrize("size", [245, 260, 5000])
def test_taps_are_copies_however_they_are_gathered(lines, width, n, size):
    # Also up to the last voxel that may be read, where a whole window would reach too far.
    rng = np.random.default_rng(n * size)
    reach = lines[-1] + width
    image = rng.random(size, dtype=np.float32)
    for first in (
        landings(rng, n, size, reach),
        np.maximum(size - reach - np.arange(n)[::-1], 0).astype(np.int32),
        rng.integers(0, size - reach + 1, n, dtype=np.int32),
        np.full(n, -1, np.int32),
    ):
        at = first + np.add.outer(lines, np.arange(width)).reshape(-1, 1)
        expected = np.where(first >= 0, image[np.minimum(at, size - 1)], 0)
        for fastest in (False, True):
            np.testing.assert_array_equal(definitions.gather_taps(image, first, lines, width, fastest), expected)


@pytest.mark.parametrize("shape", [(1, 2, 40, 150), (1, 1, 6, 20, 150)], ids=str)
@pytest.mark.parametrize(("interpolation", "padding"), [m for m in MODES if m[0] != "nearest"])
def test_what_is_not_a_number_stays_where_it_is(shape, interpolation, padding):
    # In float32 and in rows longer than a stretch, where taps are gathered by windows.
    image, displacement = sample(shape, dtype=torch.float32)
    displacement = F.avg_pool1d(displacement.flatten(1, -2), 9, 1, 4).reshape(displacement.shape)  # runs of voxels
    undefined = torch.rand(shape[2:], generator=torch.Generator().manual_seed(2)) < 0.02
    inputs = leaves([image, displacement.masked_fill(undefined, torch.nan)])
    out = warp(*inputs, interpolation, padding)
    assert torch.equal(out.isnan(), undefined.expand_as(out))
    expected = warp(image.double(), displacement.double(), interpolation, padding).float()
    torch.testing.assert_close(out[~out.isnan()], expected[~out.isnan()], rtol=0, atol=TOLERANCE[torch.float32])
    (slopes,) = torch.autograd.grad(out, inputs[1], torch.ones_like(out))
    assert torch.equal(slopes.isnan(), undefined.expand_as(slopes))


@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (1, 2, 3, 4, 3)], ids=str)
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_first_derivatives(device, shape, interpolation, padding):
    image, displacement = sample(shape, device=device)
    inputs = leaves([image, away_from_kinks(displacement)])
    assert gradcheck(lambda x, d: warp(x, d, interpolation, padding), inputs)


@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_derivatives_to_the_image_of_any_order(device, interpolation, padding):
    image, displacement = sample((2, 1, 4, 5), device=device)
    check_gradients(lambda x: warp(x, displacement, interpolation, padding), [image])
    words = INTERPOLATIONS.index(interpolation), PADDINGS.index(padding)
    check_gradients(lambda g: torch.ops.medadv.warp_adjoint(g, displacement, *words), [image])


def test_gradient_of_the_adjoint_to_the_displacement(device):
    image, displacement = sample((2, 1, 4, 5), device=device)
    inputs = leaves([image, away_from_kinks(displacement)])
    assert gradcheck(lambda g, d: torch.ops.medadv.warp_adjoint(g, d, 1, 0), inputs)


def test_second_derivatives_to_the_displacement_are_refused():
    image, displacement = leaves(sample((1, 1, 4, 5)))
    for inputs in ([displacement], [image, displacement]):
        grads = torch.autograd.grad(warp(image, displacement).pow(2).sum(), inputs, create_graph=True)
        with pytest.raises(RuntimeError, match="^warp: second derivatives to the displacement"):
            torch.autograd.grad(grads[-1].sum(), displacement)


def test_registration(device):
    image, displacement = sample((2, 2, 5, 6), device=device)
    ops = torch.ops.medadv
    check_registration(ops.warp.default, (image, displacement, 1, 0))
    check_registration(ops.warp_adjoint.default, (image, displacement, 1, 0))
    for op in (ops.warp_backward.default, ops.warp_displacement_backward.default):
        torch.library.opcheck(op, (image + 1, image, displacement, 1, 0))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_layouts(device, interpolation):
    check_layouts(lambda x, d: warp(x, d, interpolation), sample((2, 3, 9, 10), device=device))


def test_compiles(device):
    check_compiles(warp, sample((2, 2, 9, 10), device=device))


def test_compiles_for_any_batch_size():
    compiled = torch.compile(warp, fullgraph=True, dynamic=True)
    for n in (1, 2, 5):
        image, displacement = sample((n, 1, 6, 7))
        torch.testing.assert_close(compiled(image, displacement), warp(image, displacement))


def test_batching(device):
    check_batching(warp, sample((2, 2, 5, 6), device=device))


def test_batching_of_gradients(device):
    image, displacement = leaves(sample((2, 2, 5, 6), device=device))
    out = warp(image, displacement)
    grads = torch.rand(3, *out.shape, dtype=out.dtype, device=device)
    batched = torch.autograd.grad(out, [image, displacement], grads, is_grads_batched=True, retain_graph=True)
    for i, grad in enumerate(grads):
        one = torch.autograd.grad(out, [image, displacement], grad, retain_graph=True)
        for got, want in zip(batched, one, strict=True):
            torch.testing.assert_close(got[i], want)


def test_meta_tensors_give_shapes():
    image, displacement = (t.to("meta") for t in sample((2, 3, 5, 6)))
    assert warp(image, displacement).shape == image.shape


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_computes_in_float32(device, half):
    image, displacement = sample((1, 1, 8, 9), dtype=half, device=device)
    with torch.autocast(device, half):
        out = warp(image, displacement)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double().cpu(), warps.warp(image, displacement), rtol=0, atol=3e-6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", [(2, 2, 37, 41), (1, 1, 6, 7, 33)], ids=str)
def test_no_displacement_is_the_identity_to_the_bit(device, dtype, interpolation, shape):
    image, displacement = sample(shape, dtype=dtype, device=device)
    for padding in PADDINGS:
        assert torch.equal(warp(image, torch.zeros_like(displacement), interpolation, padding), image)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_whole_voxels_shift_to_the_bit(device, interpolation):
    image, displacement = sample((1, 2, 12, 40), dtype=torch.float32, device=device)
    displacement = torch.tensor([-2.0, 3.0], device=device).reshape(1, 2, 1, 1).expand_as(displacement)
    out = warp(image, displacement, interpolation)
    assert torch.equal(out[:, :, 2:, :-3], image[:, :, :-2, 3:])
    assert not out[:, :, :2].any()
    assert not out[..., -3:].any()


def test_rounding_does_not_grow_with_the_image():
    # In float32 the position 100000.3 has only two decimals.
    image = torch.arange(8.0).repeat(20000).reshape(1, 1, 1, -1)
    displacement = torch.zeros(1, 2, 1, image.shape[3])
    displacement[:, 1] = 0.3
    out = warp(image, displacement)[0, 0, 0, 100000:100007]
    torch.testing.assert_close(out, torch.arange(7.0) + 0.3, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", LABELS, ids=str)
@pytest.mark.parametrize("shape", [(2, 2, 31, 37), (1, 1, 5, 6, 7)], ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
def test_labels(device, dtype, shape, padding):
    _, displacement = sample(shape, dtype=torch.float32, device=device)
    labels = torch.randint(0, 2 if dtype == torch.bool else 100, shape, device=device).to(dtype)
    out = warp(labels, displacement.requires_grad_(), "nearest", padding)
    assert out.dtype == dtype
    assert not out.requires_grad
    assert torch.equal(out.double().cpu(), warps.warp(labels, displacement.detach(), "nearest", padding))


def test_labels_that_no_float_holds_survive(device):
    labels = torch.full((1, 1, 4, 5), 2**62 + 1, device=device)
    assert torch.equal(warp(labels, torch.zeros(1, 2, 4, 5, device=device), "nearest"), labels)


@pytest.mark.parametrize("shape", [(3, 2, 97, 230), (2, 1, 20, 50, 61)], ids=str)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_same_bits_for_any_number_of_threads(shape, interpolation):
    image, displacement = leaves(sample(shape, dtype=torch.float32))

    def run():
        out = warp(image, displacement, interpolation)
        alone = torch.autograd.grad(warp(image.detach(), displacement, interpolation), displacement, out.detach())
        return [out.detach(), *torch.autograd.grad(out, [image, displacement], out.detach()), *alone]

    one, two, three = bits_for_threads(run, (1, 2, 3))
    assert torch.equal(one[2], one[3])
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


# One image, whose rows several threads share: each sums its part of the gradient to the image. Displacements up to a
# few voxels, into the other's part, out of the image, and nowhere.
@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 1, 600, 130), torch.float32), ((1, 2, 40, 50, 61), torch.float16)], ids=str
)
@pytest.mark.parametrize("reach", [4.0, 60.0, 2000.0])
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_same_bits_for_one_image(shape, dtype, reach, interpolation, padding):
    image, displacement = leaves(sample(shape, dtype=dtype, reach=reach))
    with torch.no_grad():
        displacement.view(-1)[:: 9973 if reach == 4.0 else 10**9] = torch.nan
    grad = torch.rand_like(image)

    def run():
        out = warp(image, displacement, interpolation, padding)
        return torch.autograd.grad(out, [image, displacement], grad)

    for results in zip(*bits_for_threads(run, (1, 2, 7)), strict=True):
        for other in results[1:]:
            torch.testing.assert_close(other, results[0], rtol=0, atol=0, equal_nan=True)


# Rows that all move one way: past an end, where the padding brings them back into a part far away, or not at all.
@pytest.mark.parametrize("shape", [(1, 1, 600, 130), (1, 1, 40, 30, 61)], ids=str)
@pytest.mark.parametrize("shift", [-1.6, -0.7, 0.7, 1.6], ids="{:+} of the image".format)
@pytest.mark.parametrize(("interpolation", "padding"), MODES)
def test_same_bits_where_rows_move_one_way(shape, shift, interpolation, padding):
    image, displacement = sample(shape, dtype=torch.float32)
    displacement[:, 0] += shift * shape[2]
    inputs, grad = leaves([image, displacement]), torch.rand_like(image)

    def run():
        return torch.autograd.grad(warp(*inputs, interpolation, padding), inputs, grad)

    for results in zip(*bits_for_threads(run, (1, 2, 7)), strict=True):
        assert all(torch.equal(other, results[0]) for other in results[1:])


def test_an_example_does_not_depend_on_its_batch(device):
    image, displacement = sample((5, 1, 40, 50), dtype=torch.float32, device=device)
    whole = warp(image, displacement)
    for i in range(5):
        assert torch.equal(warp(image[i : i + 1], displacement[i : i + 1])[0], whole[i])


@settings(max_examples=60, deadline=None)
@given(
    size=st.one_of(
        st.tuples(st.integers(1, 30), st.integers(1, 50)),
        st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 20)),
    ),
    mode=st.sampled_from(MODES),
    reach=st.floats(0.0, 1e4),
    seed=st.integers(0, 1000),
)
def test_any_geometry_and_reach(size, mode, reach, seed):
    image, displacement = sample((1, 1, *size), reach=reach, seed=seed)
    torch.testing.assert_close(
        warp(image, displacement, *mode), warps.warp(image, displacement, *mode), rtol=0, atol=1e-10
    )


@settings(max_examples=40, deadline=None)
@given(mode=st.sampled_from(MODES), axes=st.integers(2, 3), seed=st.integers(0, 1000))
def test_the_adjoint_is_adjoint(mode, axes, seed):
    image, displacement = sample((2, 2, *(9, 7, 8)[:axes]), seed=seed)
    grad = torch.rand_like(image)
    words = INTERPOLATIONS.index(mode[0]), PADDINGS.index(mode[1])
    left = (warp(image, displacement, *mode) * grad).sum()
    right = (torch.ops.medadv.warp_adjoint(grad, displacement, *words) * image).sum()
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 1, 9, 20), (1, 1, 5, 6, 20)], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_displacements_that_lead_nowhere(device, shape, value):
    image, displacement = sample(shape, dtype=torch.float32, device=device)
    displacement[:, -1, ..., 7] = value
    for interpolation, padding in MODES:
        out = warp(image, displacement, interpolation, padding)[..., 7]
        if math.isnan(value):
            assert out.isnan().all() == (interpolation != "nearest")
        elif padding == "zeros":
            assert not out.any()
        else:
            assert out.isfinite().all()


def test_what_is_not_finite_in_the_image_stays_where_it_is():
    image, displacement = sample((1, 1, 20, 40), reach=0.9)
    image[..., 10, 20] = math.nan
    undefined = warp(image, displacement).isnan()
    assert undefined.any()
    assert not undefined[..., :8, :].any()
    assert not undefined[..., :, 23:].any()


@pytest.mark.parametrize("shape", [(0, 1, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (2, 1, 5, 0), (1, 1, 0, 4, 4)], ids=str)
def test_empty_images(device, shape):
    image = torch.rand(shape, device=device, requires_grad=True)
    displacement = torch.zeros(shape[0], len(shape) - 2, *shape[2:], device=device, requires_grad=True)
    out = warp(image, displacement)
    assert out.shape == image.shape
    grads = torch.autograd.grad(out.sum(), [image, displacement])
    assert [g.shape for g in grads] == [image.shape, displacement.shape]
    assert not grads[1].any()


def _wrong():
    image, displacement = sample((2, 3, 5, 6))
    labels = image.long()
    return [
        ("image must be", (image[0], displacement)),
        ("displacement must be \\[2, 2, 5, 6\\], one component per axis", (image, displacement[:, :1])),
        ("displacement must be \\[2, 2, 5, 6\\]", (image, displacement[:1])),
        ("dtype of image", (image, displacement.float())),
        ("image must be float16", (image.to(torch.complex64), displacement)),
        ("interpolation must be one of nearest, linear, cubic, got 'bilinear'", (image, displacement, "bilinear")),
        ("padding must be one of zeros, border, reflection, got 'same'", (image, displacement, "linear", "same")),
        ("must be sampled with interpolation nearest, got linear", (labels, displacement.float())),
        ("displacement must be float32 for an image of integers", (labels, displacement, "nearest")),
        ("an axis must stay below 2\\^30", (torch.empty(1, 1, 1, 1).expand(1, 1, 1, 2**30), displacement.float())),
        ("a channel below 2\\^31", (torch.empty(1, 1, 1, 1).expand(1, 1, 2**16, 2**15), displacement.float())),
    ]


@pytest.mark.parametrize(("sentence", "args"), _wrong(), ids=[s for s, _ in _wrong()])
def test_bad_arguments_get_one_sentence(sentence, args):
    with pytest.raises(ValueError, match=sentence) as error:
        warp(*args)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("warp: ")


@pytest.mark.parametrize(("name", "args"), [("image", (1.0, 2.0)), ("displacement", (torch.ones(1, 1, 2, 2), [0.0]))])
def test_what_is_no_tensor_is_a_type_error(name, args):
    with pytest.raises(TypeError, match=f"warp: {name} must be a torch.Tensor"):
        warp(*args)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_atomics_are_refused_where_determinism_is_asked_for():
    image, displacement = leaves(sample((1, 1, 5, 6), device="cuda"))
    out = warp(image, displacement).sum()
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="not deterministic on CUDA"):
            torch.autograd.grad(out, image, retain_graph=True)
        torch.autograd.grad(warp(image.detach(), displacement).sum(), displacement)
    finally:
        torch.use_deterministic_algorithms(False)
