"""scipy.ndimage: one image and channel at a time, on one thread, without gradients."""

import numpy as np
import torch
from scipy import ndimage

ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}


def lattice_positions(size, knots):
    """Where the voxels lie between control points, ``[axes, *size]``; control point 0 is one cell outside."""
    return np.stack(np.meshgrid(*[np.linspace(1, k - 2, n) for n, k in zip(size, knots, strict=True)], indexing="ij"))


def spline(control, at):
    """A cubic B-spline with these coefficients."""
    return ndimage.map_coordinates(control, at, np.float32, order=3, mode="nearest", prefilter=False)


def bias_field(image, lattice):
    """The same field: a cubic spline of the lattice, whose values are the coefficients."""
    at = lattice_positions(image.shape[2:], lattice.shape[2:])

    def run(image, lattice):
        fields = [np.exp(spline(control[0], at)) for control in lattice.numpy()]
        return torch.from_numpy(image.numpy() * np.stack(fields)[:, None])

    return run


def moved(image, positions, order):
    """Every channel of every image, sampled; zeros around it."""
    out = np.empty_like(image)
    for n, at in enumerate(positions):
        for c in range(image.shape[1]):
            ndimage.map_coordinates(image[n, c], at, out[n, c], order=order, mode="grid-constant", prefilter=order > 1)
    return torch.from_numpy(out)


def spline_warp(image, lattice, interpolation):
    """The same for linear. Of ``cubic``, its cubic is the spline through the voxels, and ``nearest`` rounds half up."""
    at, voxels = lattice_positions(image.shape[2:], lattice.shape[2:]), np.indices(image.shape[2:])

    def run(image, lattice):
        positions = (voxels + np.stack([spline(axis, at) for axis in control]) for control in lattice.numpy())
        return moved(image.numpy(), positions, ORDERS[interpolation])

    return run


def warp(image, displacement, interpolation):
    """The same."""
    voxels = np.indices(image.shape[2:])

    def run(image, displacement):
        return moved(image.numpy(), (voxels + d for d in displacement.numpy()), ORDERS[interpolation])

    return run


def gaussian_blur(image, sigma):
    """The same, for a sigma whose radius of four is a whole number."""
    sigmas = [0, 0, *[sigma] * (image.dim() - 2)]
    return lambda image: torch.from_numpy(ndimage.gaussian_filter(image.numpy(), sigmas, mode="mirror"))
