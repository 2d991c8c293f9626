"""Tensors of more than 2^31 elements: their last image must come out as it does alone."""

import os

import numpy as np
import pytest
import torch

from medadv.ops import (
    bias_field,
    gaussian_blur,
    jacobian_determinant,
    polynomial_bias_field,
    spline_warp,
    total_variation,
    transform_chain,
    warp,
)

IMAGES, SIDE = 33, 2**13  # 2^31 + 2^26 voxels
NEEDED = 7 * 2**30  # a result of float16, and room to spare; the input's zeros take no memory

try:
    AVAILABLE = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
except (ValueError, OSError):
    AVAILABLE = 0
pytestmark = pytest.mark.skipif(AVAILABLE < NEEDED, reason="needs 7 GB of free memory")


def mostly_zeros(channels, dtype):
    """[33, channels, 8192, 8192] whose last image holds numbers in its first and last rows; pages of zeros are not
    stored by the system until they are written."""
    images = torch.from_numpy(np.zeros((IMAGES, channels, SIDE, SIDE), dtype))
    generator = torch.Generator().manual_seed(0)
    for rows in (slice(0, 16), slice(SIDE - 16, SIDE)):
        images[-1, :, rows] = torch.randint(1, 4, (channels, 16, SIDE), generator=generator).to(images.dtype)
    return images


def lattice(components, dtype=torch.float16):
    return torch.linspace(-0.5, 0.5, IMAGES * components * 24).reshape(IMAGES, components, 4, 6).to(dtype)


OPERATORS = {
    "bias_field": (1, np.float16, lambda x, last: bias_field(x, lattice(1)[last])),
    "polynomial_bias_field": (
        1,
        np.float16,
        lambda x, last: polynomial_bias_field(x, lattice(1).flatten(2)[last, :, :6], degree=2),
    ),
    "spline_warp": (1, np.uint8, lambda x, last: spline_warp(x, lattice(2, torch.float32)[last], "nearest")),
    "warp": (1, np.float16, lambda x, last: warp(x, mostly_zeros(2, np.float16)[last])),
    "transform_chain": (1, np.float16, lambda x, last: transform_chain(x, log_gain=lattice(1)[last], bounds=(0, 2))),
    "gaussian_blur": (1, np.float16, lambda x, last: gaussian_blur(x, 1.0)),
    "total_variation": (1, np.float16, lambda x, last: total_variation(x)),
    "jacobian_determinant": (2, np.float16, lambda x, last: jacobian_determinant(x)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_last_image_comes_out_as_it_does_alone(name):
    channels, dtype, operator = OPERATORS[name]
    images, everything, last = mostly_zeros(channels, dtype), slice(None), slice(IMAGES - 1, None)
    assert images.numel() > 2**31
    alone = operator(images[last], last)
    assert alone.any()
    assert torch.equal(operator(images, everything)[last], alone)


def test_the_gradient_of_the_last_lattice_comes_out_as_it_does_alone():
    images, c = mostly_zeros(1, np.float16), lattice(1).requires_grad_()
    (together,) = torch.autograd.grad(bias_field(images, c), c, images)
    (alone,) = torch.autograd.grad(bias_field(images[-1:], c[-1:]), c, images[-1:])
    assert alone[-1].any()
    assert torch.equal(together[-1], alone[-1])
    assert not together[:-1].any()
