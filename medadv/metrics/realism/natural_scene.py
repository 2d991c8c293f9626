"""Natural-scene statistics: what normalised intensities of an image look like, and how unlike clean images they are.

The 36 features of BRISQUE (Mittal, Moorthy, Bovik, "No-reference image quality assessment in the spatial domain",
2012). Its regression was fitted on photographs; here a Gaussian is fitted on clean images of one's own, and an image
is scored by its distance from that (in the manner of NIQE: Mittal, Soundararajan, Bovik, 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medadv import ops
from medadv.metrics.realism._images import Bounds, check_images

_SIGMA = 7 / 6
_TRUNCATE = 2.5  # a window of 7 x 7 voxels
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))

# Shapes of a generalised Gaussian that a fit may return, and halvings that find one to float32.
_SHAPES = (0.2, 10.0)
_HALVINGS = 40


def natural_scene_features(images: Tensor, bounds: Bounds = (0.0, 1.0)) -> Tensor:
    """The features of BRISQUE, of intensities scaled to 0 to 255.

    At full and at half size: shape and variance of a generalised Gaussian fitted to the normalised intensities
    (I - mean) / (deviation + 1) in windows of 7 x 7 voxels, then shape, mean, left and right variance of an asymmetric
    one fitted to products of neighbours to the right, below, and along both diagonals. Fits are by moments.

    Args:
        images: [N, C, H, W], floating point; channels are averaged first. At least 16 voxels along both axes.
        bounds: (low, high) in image units.

    Returns:
        [N, 36] float64.

    Raises:
        TypeError, ValueError: not a batch of finite 2D images, or images that are too small.

    >>> natural_scene_features(torch.rand(2, 1, 32, 32)).shape
    torch.Size([2, 36])
    """
    check_images(images, "images")
    if images.ndim != 4 or min(images.shape[2:]) < 16:
        raise ValueError(
            f"images must be [N, C, H, W] with at least 16 voxels along both axes, got {list(images.shape)}."
        )
    low, high = bounds
    grey = (images.double().mean(1, keepdim=True) - low) * (255 / (high - low))
    half = interpolate(grey, scale_factor=0.5, mode="bicubic", antialias=True)
    return torch.cat([_features_of_scale(grey), _features_of_scale(half)], 1)


@dataclass(frozen=True)
class NaturalSceneModel:
    """A Gaussian over the features of clean images.

    Args:
        mean: [F] float64.
        precision: [F, F] float64, the pseudo-inverse of the covariance.

    >>> clean = torch.rand(50, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> model = NaturalSceneModel.fit(natural_scene_features(clean))
    >>> flat = torch.full((1, 1, 16, 16), 0.5)
    >>> bool(model.distance(natural_scene_features(flat)) > model.distance(natural_scene_features(clean)).max())
    True
    """

    mean: Tensor
    precision: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> NaturalSceneModel:
        """Fit the Gaussian.

        Args:
            features: [M, F] float64 of M clean images, at least 2.

        Returns:
            The model.

        Raises:
            ValueError: another shape, or fewer images.
        """
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"features must be [M, F] of at least 2 images, got {list(features.shape)}.")
        features = features.double()
        return cls(features.mean(0), torch.linalg.pinv(torch.cov(features.mT), hermitian=True))

    def distance(self, features: Tensor) -> Tensor:
        """Mahalanobis distance from the clean images.

        Args:
            features: [N, F].

        Returns:
            [N] float64, at least 0.

        Raises:
            ValueError: features of another length.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features must be [N, {len(self.mean)}], got {list(features.shape)}.")
        away = features.double() - self.mean
        return ((away @ self.precision) * away).sum(1).clamp_min(0).sqrt()


def _features_of_scale(grey: Tensor) -> Tensor:
    normal = _normalised(grey)
    shape, variance = _gaussian(normal)
    features = [shape, variance]
    for down, right in _NEIGHBOURS:
        features += _asymmetric(_products(normal, down, right))
    return torch.stack(features, 1)


def _normalised(grey: Tensor) -> Tensor:
    mean = ops.gaussian_blur(grey, _SIGMA, "border", _TRUNCATE)
    variance = ops.gaussian_blur(grey * grey, _SIGMA, "border", _TRUNCATE) - mean * mean
    return (grey - mean) / (variance.clamp_min(0).sqrt() + 1)


def _products(normal: Tensor, down: int, right: int) -> Tensor:
    height, width = normal.shape[2:]
    first = normal[:, :, : height - down, max(0, -right) : width - max(0, right)]
    second = normal[:, :, down:, max(0, right) : width - max(0, -right)]
    return first * second


def _gaussian(values: Tensor) -> tuple[Tensor, Tensor]:
    """Shape and variance of a generalised Gaussian, [N] each."""
    variance = values.flatten(1).square().mean(1)
    ratio = values.flatten(1).abs().mean(1) ** 2 / _positive(variance)
    return _shape(ratio), variance


def _asymmetric(values: Tensor) -> list[Tensor]:
    """Shape, mean, left and right variance of an asymmetric generalised Gaussian, [N] each."""
    flat = values.flatten(1)
    left, right = _mean_square(flat, flat < 0), _mean_square(flat, flat > 0)
    gamma = (left / _positive(right)).sqrt()
    ratio = flat.abs().mean(1) ** 2 / _positive(flat.square().mean(1))
    shape = _shape(ratio * (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2)
    first, second, third = (torch.lgamma(k / shape) for k in (1, 2, 3))
    mean = (right.sqrt() - left.sqrt()) * torch.exp(second - (first + third) / 2)
    return [shape, mean, left, right]


def _mean_square(flat: Tensor, where: Tensor) -> Tensor:
    return (flat.square() * where).sum(1) / where.sum(1).clamp_min(1)


def _shape(ratio: Tensor) -> Tensor:
    """The shape a with Gamma(2/a)^2 / (Gamma(1/a) Gamma(3/a)) = ratio, which rises with a; halving an interval."""
    low, high = (torch.full_like(ratio, end) for end in _SHAPES)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        first, second, third = (torch.lgamma(k / middle) for k in (1, 2, 3))
        below = torch.exp(2 * second - first - third) < ratio
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _positive(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, torch.ones_like(values))
