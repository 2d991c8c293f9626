"""MONAI's random transforms: one image at a time, without gradients."""

import torch
from monai.transforms import Rand2DElastic, Rand3DElastic, RandBiasField


def each(transform):
    """Over the images of a batch; the lattice plays no part."""
    return lambda image, lattice: torch.stack([transform(x) for x in image])


def bias_field(image, lattice):
    """RandBiasField: a random polynomial of degree 3."""
    return each(RandBiasField(degree=3, coeff_range=(-0.1, 0.1), prob=1.0))


def spline_warp(image, lattice, interpolation):
    """Rand2DElastic: random displacements of points 32 voxels apart. Rand3DElastic: of every voxel, then blurred."""
    if image.dim() == 4:
        return each(Rand2DElastic((32, 32), (1, 8), prob=1.0, padding_mode="zeros"))
    return each(Rand3DElastic((4, 4), (50, 100), prob=1.0, padding_mode="zeros"))
