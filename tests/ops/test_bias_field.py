import itertools
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
from medadv.ops import bias_field

# Largest relative error that a dtype's rounding explains.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
# Sizes with one voxel, primes, whole packs and one more than those; lattices finer than the image too.
CASES = [
    ((1, 1, 1, 1), (4, 4)),
    ((2, 3, 1, 17), (4, 6)),
    ((2, 1, 13, 1), (9, 4)),
    ((1, 2, 31, 37), (5, 7)),
    ((1, 1, 64, 48), (4, 19)),
    ((2, 1, 7, 5), (11, 12)),
    ((1, 1, 33, 300), (5, 13)),
    ((1, 1, 300, 129), (4, 4)),
    ((1, 2, 5, 6, 7), (4, 5, 4)),
    ((2, 1, 1, 9, 33), (4, 4, 6)),
    ((1, 3, 11, 17, 16), (6, 4, 5)),
]


def sample(shape, knots, *, per_channel=False, dtype=torch.float64, device="cpu", amplitude=0.5, seed=0):
    g = torch.Generator().manual_seed(seed)
    image = torch.rand(shape, generator=g, dtype=torch.float64) + 0.1
    channels = shape[1] if per_channel else 1
    lattice = (torch.rand((shape[0], channels, *knots), generator=g, dtype=torch.float64) * 2 - 1) * amplitude
    return image.to(device, dtype), lattice.to(device, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "knots"), CASES, ids=str)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
def test_matches_the_dense_definition(device, dtype, shape, knots, per_channel):
    image, lattice = sample(shape, knots, per_channel=per_channel, dtype=dtype, device=device)
    out = bias_field(image, lattice)
    assert out.dtype == dtype
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(out.double().cpu(), splines.bias_field(image, lattice), rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "knots"), CASES, ids=str)
@pytest.mark.parametrize("wanted", ["both", "image", "lattice"])
def test_gradients_match_the_dense_definition(device, dtype, shape, knots, wanted):
    image, lattice = sample(shape, knots, per_channel=True, dtype=dtype, device=device)
    grad = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device, dtype)
    image.requires_grad_(wanted != "lattice")
    lattice.requires_grad_(wanted != "image")
    inputs = [t for t in (image, lattice) if t.requires_grad]
    got = torch.autograd.grad(bias_field(image, lattice), inputs, grad)
    exact = leaves([image.double().cpu(), lattice.double().cpu()])
    expected = torch.autograd.grad(splines.bias_field(*exact), exact, grad.double().cpu())
    for g, name in zip(got, ["image", "lattice"] if wanted == "both" else [wanted], strict=True):
        want = expected[0 if name == "image" else 1]
        tolerance = TOLERANCE[dtype] * (1 if name == "image" else 4)
        # All terms of a lattice gradient are positive here, so relative errors do not grow by cancellation.
        torch.testing.assert_close(g.double().cpu(), want, rtol=tolerance, atol=tolerance * 1e-3)


@pytest.mark.parametrize("shape_knots", [CASES[3], CASES[8]], ids=str)
@pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per-channel"])
def test_first_and_second_derivatives(device, shape_knots, per_channel):
    shape, knots = shape_knots
    shape = (1, 2, *[min(s, 6) for s in shape[2:]])
    check_gradients(bias_field, sample(shape, [4] * len(knots), per_channel=per_channel, device=device))


def test_third_derivative(device):
    image, lattice = leaves(sample((1, 1, 3, 4), (4, 4), device=device))
    exact = leaves([image, lattice])

    def third(function, x, c):
        value = function(x, c).pow(2).sum()
        for _ in range(3):
            (value,) = (g.sum() for g in torch.autograd.grad(value, [c], create_graph=True))
        return value

    torch.testing.assert_close(third(bias_field, image, lattice).cpu(), third(splines.bias_field, *exact).cpu())


def test_registration(device):
    image, lattice = sample((2, 2, 5, 6), (4, 5), device=device)
    ops = torch.ops.medadv
    check_registration(ops.bias_field.default, (image, lattice))
    check_registration(ops.bias_field_backward.default, (image + 1, image, lattice))
    check_registration(ops.bias_field_lattice_backward.default, (image + 1, image, lattice))


def test_layouts(device):
    check_layouts(bias_field, sample((2, 3, 9, 10), (5, 6), per_channel=True, device=device))


def test_compiles(device):
    check_compiles(bias_field, sample((2, 2, 9, 10), (5, 6), device=device))


def test_compiles_for_any_batch_size():
    compiled = torch.compile(bias_field, fullgraph=True, dynamic=True)
    for n in (1, 2, 5):
        image, lattice = sample((n, 1, 6, 7), (4, 4))
        torch.testing.assert_close(compiled(image, lattice), bias_field(image, lattice))


def test_batching(device):
    check_batching(bias_field, sample((2, 2, 5, 6), (4, 5), device=device))


def test_meta_tensors_give_shapes():
    image, lattice = (t.to("meta") for t in sample((2, 3, 5, 6), (4, 5)))
    assert bias_field(image, lattice).shape == image.shape


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_computes_in_float32(device, half):
    image, lattice = sample((1, 1, 8, 9), (4, 4), dtype=half, device=device)
    with torch.autocast(device, half):
        out = bias_field(image, lattice)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double().cpu(), splines.bias_field(image, lattice), rtol=2e-6, atol=0)


def test_zero_lattice_is_the_identity_to_the_bit(device):
    for dtype in TOLERANCE:
        image, lattice = sample((2, 2, 37, 41), (5, 6), dtype=dtype, device=device)
        assert torch.equal(bias_field(image, torch.zeros_like(lattice)), image)


def test_constant_and_linear_lattices_are_reproduced(device):
    image = torch.ones(1, 1, 9, 17, dtype=torch.float64, device=device)
    slope = torch.arange(-1.0, 6.0, dtype=torch.float64, device=device).expand(1, 1, 4, 7)  # 4 cells along x
    field = bias_field(image, slope).log()[0, 0]
    torch.testing.assert_close(field, torch.linspace(0, 4, 17, dtype=torch.float64, device=device).expand(9, 17))


@pytest.mark.parametrize("shape_knots", [((3, 2, 97, 230), (5, 10)), ((1, 2, 40, 50, 61), (6, 7, 8))], ids=str)
def test_same_bits_for_any_number_of_threads(shape_knots):
    image, lattice = leaves(sample(*shape_knots, dtype=torch.float32))

    def run():
        out = bias_field(image, lattice)
        return [out.detach(), *torch.autograd.grad(out, [image, lattice], torch.ones_like(out))]

    one, two, three = bits_for_threads(run, (1, 2, 3))
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_an_example_does_not_depend_on_its_batch(device):
    image, lattice = sample((5, 1, 40, 50), (5, 6), dtype=torch.float32, device=device)
    whole = bias_field(image, lattice)
    for i in range(5):
        assert torch.equal(bias_field(image[i : i + 1], lattice[i : i + 1])[0], whole[i])


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    knots=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    amplitude=st.floats(0.0, 30.0),
)
def test_any_geometry_and_amplitude(size, knots, amplitude):
    image, lattice = sample((1, 1, *size), knots, dtype=torch.float32, amplitude=amplitude)
    expected = splines.bias_field(image, lattice)
    # An error of one ulp in the field, which is as large as the amplitude, is a relative error of the gain.
    tolerance = 2e-6 + 6e-7 * amplitude
    torch.testing.assert_close(bias_field(image, lattice).double(), expected, rtol=tolerance, atol=1e-37)


@given(gain=st.floats(1.01, 4.0), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_gain_stays_within_the_hull_of_the_control_points(gain, seed):
    image, lattice = sample((1, 1, 33, 47), (5, 6), dtype=torch.float32, seed=seed)
    bound = math.log(gain)
    out = bias_field(torch.ones_like(image), lattice.mul(100).clamp(-bound, bound)).double()
    assert out.max() <= gain * (1 + 1e-6)
    assert out.min() >= (1 - 1e-6) / gain


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_hidden(device, value):
    image, lattice = sample((1, 1, 20, 40), (4, 4), dtype=torch.float32, device=device)
    out = bias_field(image, torch.full_like(lattice, value))
    assert not ((out > 0) & out.isfinite()).any()


@pytest.mark.parametrize("amplitude", [110.0, -110.0])
def test_overflow_and_underflow_are_those_of_exp(amplitude):
    image, lattice = sample((1, 1, 20, 40), (4, 4), dtype=torch.float32)
    out = bias_field(image, torch.full_like(lattice, amplitude))
    assert torch.equal(out, torch.full_like(out, math.inf if amplitude > 0 else 0.0))


@pytest.mark.parametrize("shape", [(0, 1, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (2, 1, 5, 0), (1, 1, 0, 4, 4)], ids=str)
def test_empty_images(device, shape):
    image = torch.rand(shape, device=device, requires_grad=True)
    lattice = torch.zeros(shape[0], 1, *[4] * (len(shape) - 2), device=device, requires_grad=True)
    out = bias_field(image, lattice)
    assert out.shape == image.shape
    grads = torch.autograd.grad(out.sum(), [image, lattice])
    assert [g.shape for g in grads] == [image.shape, lattice.shape]
    assert not grads[1].any()


@pytest.mark.parametrize("shape_knots", [CASES[3], CASES[5], CASES[8]], ids=str)
def test_matches_the_voxel_by_voxel_definition(shape_knots):
    shape, knots = shape_knots
    image, lattice = sample((1, 1, *shape[2:]), knots)
    expected = definitions.bias_field(image[0, 0].numpy(), lattice[0, 0].numpy())
    np.testing.assert_allclose(bias_field(image, lattice)[0, 0].numpy(), expected, rtol=1e-13)


def _wrong():
    image, lattice = sample((2, 3, 5, 6), (4, 4))
    return {
        "image must be": (image[0], lattice[0]),
        "lattice must be": (image, lattice[0]),
        "at least 4 control points": (image, lattice[..., :3]),
        "dtype of image": (image, lattice.float()),
        "one entry per image": (image, lattice[:1]),
        "1 channel or the image's 3": (image, lattice.repeat(1, 2, 1, 1)),
        "float16, bfloat16, float32 or float64": (image.int(), lattice.int()),
        "below 2\\^31": (image[:, :, :1, :1].expand(2, 3, 1, 2).contiguous(), lattice),
    }


@pytest.mark.parametrize("sentence", [k for k in _wrong() if "31" not in k])
def test_bad_arguments_get_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        bias_field(*_wrong()[sentence])
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("bias_field: ")


def test_an_axis_too_long_for_its_indices_is_refused():
    image = torch.empty(1, 1, 1, 1).expand(1, 1, 1, 2**21)
    with pytest.raises(ValueError, match="below 2\\^31"):
        bias_field(image, torch.zeros(1, 1, 4, 2**11))


@pytest.mark.parametrize(("name", "args"), [("image", (1.0, 2.0)), ("lattice", (torch.ones(1, 1, 2, 2), [0.0]))])
def test_what_is_no_tensor_is_a_type_error(name, args):
    with pytest.raises(TypeError, match=f"bias_field: {name} must be a torch.Tensor"):
        bias_field(*args)


def test_every_dtype_pair_that_differs_is_refused():
    image, lattice = sample((1, 1, 4, 4), (4, 4))
    for a, b in itertools.permutations(TOLERANCE, 2):
        with pytest.raises(ValueError, match="dtype"):
            bias_field(image.to(a), lattice.to(b))
