import math

import numpy as np
import pytest
import scipy.ndimage
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
from medadv.ops import gaussian_blur

SCIPY_MODE = {"reflect": "mirror", "border": "nearest", "zeros": "constant"}
PADDINGS = list(SCIPY_MODE)
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
# Axes of one voxel, lengths that are no multiple of four, kernels longer than the image, axes left alone.
CASES = [
    ((1, 1, 1, 1), 1.0),
    ((2, 3, 1, 17), 1.0),
    ((2, 1, 13, 1), (0.7, 2.0)),
    ((1, 2, 31, 37), (0.0, 1.3)),
    ((1, 2, 31, 37), (1.3, 0.0)),
    ((2, 2, 40, 70), 2.0),
    ((1, 1, 5, 6), 9.0),
    ((1, 1, 200, 130), (3.0, 0.3)),
    ((1, 1, 9, 700), (0.5, 1.0)),
    ((1, 2, 5, 6, 7), (1.0, 0.6, 0.4)),
    ((2, 1, 1, 9, 33), 0.8),
    ((1, 1, 11, 17, 16), (2.0, 0.0, 1.0)),
    ((1, 1, 11, 17, 16), (0.0, 2.0, 0.0)),
    ((1, 1, 6, 300, 150), (0.9, 3.0, 0.0)),
    ((2, 1, 3, 2, 4), 4.0),
]


def sample(shape, *, dtype=torch.float64, device="cpu", seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=g, dtype=torch.float64) + 0.1).to(device, dtype)


def per_axis(sigma, shape):
    return [sigma] * (len(shape) - 2) if isinstance(sigma, float) else list(sigma)


def by_scipy(image, sigma, padding, truncate=4.0):
    sigmas = per_axis(sigma, image.shape)
    out = scipy.ndimage.gaussian_filter(
        image.double().cpu().numpy(),
        [0, 0, *sigmas],
        mode=SCIPY_MODE[padding],
        radius=[0, 0, *[math.ceil(truncate * s) for s in sigmas]],
    )
    return torch.from_numpy(out)


def dense(function, shape):
    """The matrix of a linear map of images."""
    count = math.prod(shape)
    columns = [function(e.reshape(shape)).flatten() for e in torch.eye(count, dtype=torch.float64)]
    return torch.stack(columns, 1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("shape", "sigma"), CASES, ids=str)
def test_agrees_with_scipy(device, dtype, shape, sigma, padding):
    image = sample(shape, dtype=dtype, device=device)
    out = gaussian_blur(image, sigma, padding)
    assert out.dtype == dtype
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(out.double().cpu(), by_scipy(image, sigma, padding), rtol=tolerance, atol=0)


@pytest.mark.parametrize("truncate", [0.1, 1.0, 2.5])
def test_truncate(device, truncate):
    image = sample((1, 1, 20, 30), device=device)
    torch.testing.assert_close(
        gaussian_blur(image, 1.7, truncate=truncate).cpu(), by_scipy(image, 1.7, "reflect", truncate)
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("shape", "sigma"), CASES, ids=str)
def test_gradients_match_scipy_through_the_inner_product(device, dtype, shape, sigma, padding):
    """<g, A x> = <A^T g, x> for any x; all terms are positive, so nothing cancels."""
    image, grad = (sample(shape, dtype=dtype, device=device, seed=s) for s in (0, 1))
    (got,) = torch.autograd.grad(gaussian_blur(image.requires_grad_(), sigma, padding), image, grad)
    assert got.dtype == dtype
    for seed in range(3):
        probe = sample(shape, seed=seed)
        if seed:  # only a few voxels, most at the border
            probe = torch.zeros_like(probe)
            probe.view(-1)[:: max(1, probe.numel() // 3)] = 1.0
        expected = (grad.double().cpu() * by_scipy(probe, sigma, padding)).sum()
        value = (got.double().cpu() * probe).sum()
        torch.testing.assert_close(value, expected, rtol=4 * TOLERANCE[dtype], atol=0)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("shape", "sigma"),
    [((1, 1, 7, 9), 0.7), ((1, 1, 3, 8), (2.0, 1.0)), ((1, 1, 1, 5), 1.0), ((1, 1, 4, 3, 5), (0.5, 1.0, 2.0))],
    ids=str,
)
def test_the_adjoint_is_the_transposed_matrix(device, shape, sigma, padding):
    settings = [per_axis(sigma, shape), PADDINGS.index(padding), 4.0]
    blur = dense(lambda x: torch.ops.medadv.gaussian_blur(x.to(device), *settings).cpu(), shape)
    adjoint = dense(lambda x: torch.ops.medadv.gaussian_blur_adjoint(x.to(device), *settings).cpu(), shape)
    torch.testing.assert_close(adjoint, blur.T, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("adjoint", [False, True], ids=["blur", "adjoint"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("sigma", [0.4, 1.5, 40.0])
@pytest.mark.parametrize("size", [(9, 14), (1, 6), (5, 6, 7)], ids=str)
def test_matches_the_voxel_by_voxel_definition(size, sigma, padding, adjoint):
    image, name = sample((1, 1, *size)), "gaussian_blur_adjoint" if adjoint else "gaussian_blur"
    for axis in range(len(size)):
        expected = definitions.gaussian_blur(image[0, 0].numpy(), sigma, axis, PADDINGS.index(padding), 4.0, adjoint)
        sigmas = [sigma if a == axis else 0.0 for a in range(len(size))]
        got = getattr(torch.ops.medadv, name)(image, sigmas, PADDINGS.index(padding), 4.0)
        np.testing.assert_allclose(got[0, 0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("shape", "sigma"), [((1, 2, 5, 6), (0.8, 3.0)), ((1, 1, 3, 4, 2), 0.6)], ids=str)
def test_first_and_second_derivatives(device, shape, sigma, padding):
    check_gradients(lambda x: gaussian_blur(x, sigma, padding).square(), [sample(shape, device=device)])


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    sigma=st.tuples(st.floats(0.0, 12.0), st.floats(0.0, 12.0)),
    padding=st.sampled_from(PADDINGS),
)
@settings(max_examples=80, deadline=None)
def test_any_geometry(size, sigma, padding):
    image = sample((1, 1, *size), dtype=torch.float32)
    torch.testing.assert_close(
        gaussian_blur(image, sigma, padding).double(), by_scipy(image, sigma, padding), rtol=2e-6, atol=0
    )


@pytest.mark.parametrize("padding", ["reflect", "border"])
def test_a_constant_stays_and_zeros_fade(device, padding):
    image = torch.full((1, 1, 6, 40, 30), 0.7, dtype=torch.float64, device=device)
    torch.testing.assert_close(gaussian_blur(image, 2.0, padding), image)
    faded = gaussian_blur(image, 2.0, "zeros")
    assert faded[0, 0, 0, 0, 0] < 0.3
    assert (faded <= image).all()


def test_sigma_zero_is_the_identity_to_the_bit(device):
    for dtype in TOLERANCE:
        image = sample((2, 2, 17, 19), dtype=dtype, device=device)
        assert torch.equal(gaussian_blur(image, 0), image)
        assert torch.equal(gaussian_blur(image, 1e-200), image)


def test_what_is_not_finite_stays_within_the_radius(device):
    for shape in ((1, 1, 30, 40), (1, 1, 30, 31, 32)):
        image = sample(shape, dtype=torch.float32, device=device)
        middle = (0, 0, *[n // 2 for n in shape[2:]])
        image[middle] = math.nan
        touched = gaussian_blur(image, 1.0).isnan()
        assert touched.sum() == 9 ** (len(shape) - 2)  # |k| <= 4 along every axis
        assert touched[middle]


def test_same_bits_for_any_number_of_threads():
    for shape in ((3, 2, 97, 230), (1, 2, 40, 50, 61)):
        (image,) = leaves([sample(shape, dtype=torch.float32)])

        def run(image=image):
            out = gaussian_blur(image, 1.5)
            return [out.detach(), *torch.autograd.grad(out, image, torch.ones_like(out))]

        one, two, three = bits_for_threads(run, (1, 2, 3))
        for a, b, c in zip(one, two, three, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(a, c)


def test_registration(device):
    for op in (torch.ops.medadv.gaussian_blur.default, torch.ops.medadv.gaussian_blur_adjoint.default):
        check_registration(op, (sample((2, 2, 5, 6), device=device), [1.0, 0.5], 0, 4.0))


def test_layouts(device):
    check_layouts(lambda x: gaussian_blur(x, 1.0), [sample((2, 3, 9, 10), device=device)])


def test_compiles(device):
    check_compiles(lambda x: gaussian_blur(x, (1.0, 0.5)), [sample((2, 2, 9, 10), device=device)])


def test_compiles_for_any_batch_size():
    compiled = torch.compile(lambda x: gaussian_blur(x, 1.0), fullgraph=True, dynamic=True)
    for n in (1, 2, 5):
        image = sample((n, 1, 6, 7))
        torch.testing.assert_close(compiled(image), gaussian_blur(image, 1.0))


def test_batching(device):
    check_batching(lambda x: gaussian_blur(x, 1.0), [sample((2, 2, 5, 6), device=device)])


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_computes_in_float32(device, half):
    image = sample((1, 1, 8, 9), dtype=half, device=device)
    with torch.autocast(device, half):
        assert gaussian_blur(image, 1.0).dtype == torch.float32


@pytest.mark.parametrize("shape", [(0, 1, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (2, 1, 5, 0), (1, 1, 0, 4, 4)], ids=str)
def test_empty_images(device, shape):
    image = torch.rand(shape, device=device, requires_grad=True)
    out = gaussian_blur(image, 1.0)
    assert out.shape == shape
    assert torch.autograd.grad(out.sum(), image)[0].shape == shape


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((sample((2, 5, 6)), 1.0), "image must be \\[N, C, H, W\\] or \\[N, C, D, H, W\\], got \\[2, 5, 6\\]"),
        ((sample((1, 1, 5, 6)), (1.0, 1.0, 1.0)), "one entry per axis, 2, got 3"),
        ((sample((1, 1, 5, 6)), -1.0), "must not be negative"),
        ((sample((1, 1, 5, 6)), math.nan), "must not be negative"),
        ((sample((1, 1, 5, 6)), 1e9), "below 32768 voxels"),
        ((sample((1, 1, 5, 6)), 8192.0, "reflect", 4.0), "below 32768 voxels"),
        ((sample((1, 1, 5, 6)), 1.0, "mirror"), "padding must be 'reflect', 'border' or 'zeros', got 'mirror'"),
        ((sample((1, 1, 5, 6)), 1.0, "zeros", 0.0), "truncate must be positive"),
        ((sample((1, 1, 5, 6)).int(), 1.0), "float16, bfloat16, float32 or float64"),
    ],
)
def test_bad_arguments_get_one_sentence(args, sentence):
    with pytest.raises(ValueError, match=f"^gaussian_blur: .*{sentence}") as error:
        gaussian_blur(*args)
    assert "\n" not in str(error.value)


def test_what_is_no_tensor_is_a_type_error():
    with pytest.raises(TypeError, match="image must be a torch.Tensor, got ndarray"):
        gaussian_blur(np.zeros((1, 1, 4, 4)), 1.0)
