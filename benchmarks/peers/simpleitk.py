"""SimpleITK: one image and channel at a time, without gradients."""

import numpy as np
import SimpleITK as sitk  # noqa: N813  (its own name for itself)
import torch

INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline}


def resampled(image, transforms, interpolation):
    """Every channel of every image through its transform."""
    out = np.empty_like(image)
    for n, transform in enumerate(transforms):
        for c in range(image.shape[1]):
            moving = sitk.GetImageFromArray(image[n, c])
            moved = sitk.Resample(moving, transform, INTERPOLATORS[interpolation], 0.0)
            out[n, c] = sitk.GetArrayViewFromImage(moved)
    return torch.from_numpy(out)


def spline_warp(image, lattice, interpolation):
    """The same lattice. At the border it differs: a voxel counts up to half a voxel outside, and zero begins there.

    Its cubic is the spline through the voxels.
    """
    size, knots = image.shape[2:], lattice.shape[2:]

    def transform(control):
        bspline = sitk.BSplineTransform(len(size), 3)
        bspline.SetTransformDomainPhysicalDimensions([float(n - 1) for n in reversed(size)])
        bspline.SetTransformDomainMeshSize([k - 3 for k in reversed(knots)])
        bspline.SetParameters(control[::-1].ravel().astype(float).tolist())
        return bspline

    return lambda image, lattice: resampled(image.numpy(), map(transform, lattice.numpy()), interpolation)


def warp(image, displacement, interpolation):
    """The same, but for the border as in :func:`spline_warp`."""

    def transform(d):
        vectors = np.ascontiguousarray(np.moveaxis(d[::-1], 0, -1), np.float64)
        return sitk.DisplacementFieldTransform(sitk.GetImageFromArray(vectors, isVector=True))

    return lambda image, displacement: resampled(image.numpy(), map(transform, displacement.numpy()), interpolation)


def gaussian_blur(image, sigma):
    """DiscreteGaussian: the kernel of the discrete scale space (Bessel functions), the border repeated."""
    variance, width = [sigma**2] * (image.dim() - 2), int(8 * sigma) + 1

    def run(image):
        out = np.empty_like(image.numpy())
        for n in np.ndindex(*image.shape[:2]):
            blurred = sitk.DiscreteGaussian(sitk.GetImageFromArray(image.numpy()[n]), variance, width, 1e-4)
            out[n] = sitk.GetArrayViewFromImage(blurred)
        return torch.from_numpy(out)

    return run
