"""deepali (``pip install hf-deepali``): registration in PyTorch, differentiable."""

import torch
from deepali.core import functional as fn
from deepali.core.bspline import evaluate_cubic_bspline
from deepali.core.flow import warp_image
from deepali.core.grid import Grid
from deepali.losses import functional as losses
from torch.nn.functional import relu

MODES = {"nearest": "nearest", "linear": "linear"}


def strides(size, knots):
    """Whole voxels between control points, along x first: ours span the image exactly and are a little closer."""
    return [-(-n // (k - 3)) for n, k in zip(reversed(size), reversed(knots), strict=True)]


def bias_field(image, lattice):
    """The field of a lattice with as many control points, some whole voxels apart."""
    shape, stride = image.shape[2:], strides(image.shape[2:], lattice.shape[2:])
    return lambda image, lattice: image * evaluate_cubic_bspline(lattice, stride, shape=shape).exp()


def spline_warp(image, lattice, interpolation):
    """By the displacement of a lattice as in :func:`bias_field`."""
    shape, stride = image.shape[2:], strides(image.shape[2:], lattice.shape[2:])
    move = warp(image, None, interpolation)
    return lambda image, lattice: move(image, evaluate_cubic_bspline(lattice, stride, shape=shape))


def warp(image, displacement, interpolation):
    """The same."""
    grid = Grid(shape=image.shape[2:]).coords(device=image.device)[None]
    scale = torch.tensor([2 / (n - 1) for n in reversed(image.shape[2:])], device=image.device)

    def run(image, displacement):
        flow = displacement.flip(1).movedim(1, -1) * scale
        return warp_image(image, grid, flow, MODES[interpolation], "zeros")

    return run


def membrane_energy(displacement):
    """A mean over the batch, one-sided differences repeated at the border."""
    return lambda u: losses.diffusion_loss(u, mode="forward", spacing=1)


def total_variation(displacement):
    """A mean over the batch, as :func:`membrane_energy`."""
    return lambda u: losses.total_variation_loss(u, mode="forward", spacing=1)


def bending_energy(displacement):
    """A mean over the batch; second differences are differences of differences."""
    return lambda u: losses.bending_loss(u, mode="forward_central_backward", spacing=1)


def folding_penalty(displacement):
    """A mean over the batch of the penalty on determinants by forward differences."""
    return lambda u: relu(0.01 - fn.jacobian_det(u.flip(1), mode="forward", spacing=1)).square().mean()
