"""torch-interpol: splines of any order in TorchScript, differentiable to image and grid."""

import interpol
import torch


def lattice_positions(size, knots, device):
    """Where the voxels lie between control points, ``[1, *size, axes]``."""
    axes = [torch.linspace(1, k - 2, n, device=device) for n, k in zip(size, knots, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[None]


def spline(lattice, at):
    """A cubic B-spline with these coefficients."""
    return interpol.grid_pull(lattice, at, interpolation=3, bound="replicate", extrapolate=True)


def bias_field(image, lattice):
    """The same field."""
    at = lattice_positions(image.shape[2:], lattice.shape[2:], image.device)
    return lambda image, lattice: image * spline(lattice, at).exp()


def spline_warp(image, lattice, interpolation):
    """The same for linear; its cubic is the spline through the voxels."""
    at = lattice_positions(image.shape[2:], lattice.shape[2:], image.device)
    sample = warp(image, None, interpolation)
    return lambda image, lattice: sample(image, spline(lattice, at))


def warp(image, displacement, interpolation):
    """The same for linear."""
    voxels = interpol.identity_grid(image.shape[2:], dtype=image.dtype, device=image.device)

    def run(image, displacement):
        at = voxels + displacement.movedim(1, -1)
        return interpol.grid_pull(
            image, at, interpolation, "zero", extrapolate=True, prefilter=interpolation == "cubic"
        )

    return run
