"""MONAI's layers and losses. Its compiled ``grid_pull`` is not in the wheels that pip installs (monai._C)."""

import warnings

from monai.losses import BendingEnergyLoss, DiffusionLoss
from monai.networks.blocks import Warp
from monai.networks.layers import GaussianFilter

MODES = {"nearest": "nearest", "linear": "bilinear"}


def warp(image, displacement, interpolation):
    """The same, through grid_sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it uses grid_sample
        return Warp(MODES[interpolation], "zeros")


def gaussian_blur(image, sigma):
    """The Gaussian integrated over voxels, and zeros around the image."""
    return GaussianFilter(image.dim() - 2, sigma).to(image.device)


def membrane_energy(displacement):
    """DiffusionLoss: central differences, inner voxels, a mean over the batch."""
    return DiffusionLoss()


def bending_energy(displacement):
    """BendingEnergyLoss: mixed differences are central, inner voxels, a mean over the batch."""
    return BendingEnergyLoss()
