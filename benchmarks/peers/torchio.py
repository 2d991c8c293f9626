"""TorchIO's transforms: one image ``[C, D, H, W]`` at a time (a plane has depth 1), without gradients."""

import torch
import torchio


def each(transform):
    """Over the images of a batch; a lattice plays no part."""

    def run(image, lattice=None):
        volumes = image if image.dim() == 5 else image[:, :, None]
        return torch.stack([transform(x) for x in volumes]).reshape(image.shape)

    return run


def bias_field(image, lattice):
    """RandomBiasField: a random polynomial of order 3."""
    return each(torchio.RandomBiasField(order=3))


def spline_warp(image, lattice, interpolation):
    """RandomElasticDeformation: a random lattice with as many control points, through SimpleITK."""
    knots, reach = list(lattice.shape[2:]), 4.0
    if image.dim() == 4:
        return each(torchio.RandomElasticDeformation((4, *knots), (0.0, reach, reach), locked_borders=0))
    return each(torchio.RandomElasticDeformation(tuple(knots), reach, locked_borders=0))


def gaussian_blur(image, sigma):
    """Blur: SciPy's, its border reflected about the edge of the last voxel."""
    return each(torchio.Blur((sigma,) * 3 if image.dim() == 5 else (0, sigma, sigma)))
