"""Features of intensity and texture, as radiomics counts them, and the distance of two sets of images by them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medadv import _arguments
from medadv.metrics.realism._images import Bounds, check_images

FEATURES = (
    "mean",
    "variance",
    "skewness",
    "kurtosis",
    "entropy",
    "percentile 10",
    "median",
    "percentile 90",
    "mean absolute deviation",
    "contrast",
    "dissimilarity",
    "homogeneity",
    "energy",
    "correlation",
    "joint entropy",
)


def radiomic_features(images: Tensor, bounds: Bounds = (0.0, 1.0), levels: int = 32) -> Tensor:
    """First-order statistics, and statistics of the grey-level co-occurrence matrix, in the order of `FEATURES`.

    Definitions as in the image biomarker standardisation initiative (Zwanenburg et al., 2020) but for the energy, which
    is the root of the sum of squares; intensities are fractions of the range, in `levels` bins of equal width.
    Co-occurrences are of neighbours along every axis, both ways, pooled over axes and channels.

    Args:
        images: [N, C, (D,) H, W], floating point, inside `bounds`, at least 2 voxels along every axis.
        bounds: (low, high) in image units.
        levels: number of bins, 2 to 256.

    Returns:
        [N, 15] float64.

    Raises:
        TypeError, ValueError: not a batch of finite images inside the bounds, levels out of range.

    >>> flat = radiomic_features(torch.full((1, 1, 8, 8), 0.5))
    >>> dict(zip(FEATURES, flat[0].tolist()))["contrast"]
    0.0
    """
    check_images(images, "images")
    levels = _arguments.whole(levels, "levels", at_least=2, below=257)
    if min(images.shape[2:]) < 2:
        raise ValueError(f"images must have at least 2 voxels along every axis, got {list(images.shape[2:])}.")
    low, high = bounds
    share = (images.double() - low) / (high - low)
    if bool((share < 0).any()) or bool((share > 1).any()):
        raise ValueError(f"images must lie within the bounds {low:g} to {high:g}.")
    binned = (share * levels).long().clamp_max(levels - 1)
    return torch.cat([_first_order(share.flatten(1), binned.flatten(1), levels), _texture(binned, levels)], 1)


def frechet_distance(reference: Tensor, features: Tensor) -> float:
    """Frechet distance of two sets of features, each taken for a Gaussian.

    ``|m1 - m2|^2 + trace(S1 + S2 - 2 (S1 S2)^(1/2))`` (Dowson and Landau, 1982), of features that are divided by their
    standard deviation in the reference (a feature that never varies there is left as it is).

    Args:
        reference: [M, F], at least 2 rows.
        features: [N, F], at least 2 rows.

    Returns:
        The distance, at least 0, without a unit.

    Raises:
        ValueError: shapes that do not fit.

    >>> sample = torch.randn(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> round(frechet_distance(sample, sample + sample.std(0)), 6)  # three means, each one deviation away
    3.0
    """
    for name, values in (("reference", reference), ("features", features)):
        if values.ndim != 2 or len(values) < 2:
            raise ValueError(f"{name} must be [N, F] of at least 2 rows, got {list(values.shape)}.")
    if features.shape[1] != reference.shape[1]:
        raise ValueError(f"features must have {reference.shape[1]} columns as the reference, got {features.shape[1]}.")
    deviation = reference.double().std(0)
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    first, second = reference.double() / deviation, features.double() / deviation
    root = _root(torch.cov(first.mT))
    between = _root(root @ torch.cov(second.mT) @ root)
    spread = first.var(0).sum() + second.var(0).sum() - 2 * between.trace()
    return max(0.0, float((first.mean(0) - second.mean(0)).square().sum() + spread))


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    return root


def _first_order(flat: Tensor, binned: Tensor, levels: int) -> Tensor:
    mean = flat.mean(1, keepdim=True)
    centred = flat - mean
    variance = centred.square().mean(1)
    deviation = torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
    histogram = torch.zeros(len(flat), levels, dtype=torch.float64, device=flat.device)
    histogram.scatter_add_(1, binned, torch.ones_like(flat))
    quantiles = torch.quantile(flat, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, device=flat.device), dim=1)
    moments = [(centred / deviation[:, None]).pow(power).mean(1) for power in (3, 4)]
    entropy = _entropy(histogram / flat.shape[1])
    return torch.stack([mean[:, 0], variance, *moments, entropy, *quantiles, centred.abs().mean(1)], 1)


def _texture(binned: Tensor, levels: int) -> Tensor:
    matrix = _co_occurrence(binned, levels)
    level = torch.arange(levels, dtype=torch.float64, device=binned.device)
    apart = level[:, None] - level
    mean = (matrix.sum(2) * level).sum(1)
    variance = (matrix.sum(2) * level**2).sum(1) - mean**2
    product = (matrix * (level[:, None] * level)).sum((1, 2)) - mean**2
    # A flat image is perfectly correlated with itself.
    correlation = torch.where(variance > 0, product / torch.where(variance > 0, variance, 1), 1)
    sums = [(matrix * weight).sum((1, 2)) for weight in (apart**2, apart.abs(), 1 / (1 + apart**2))]
    energy = matrix.square().sum((1, 2)).sqrt()
    return torch.stack([*sums, energy, correlation, _entropy(matrix.flatten(1))], 1)


def _co_occurrence(binned: Tensor, levels: int) -> Tensor:
    """Symmetric and of sum 1, [N, levels, levels]."""
    count = torch.zeros(len(binned), levels * levels, dtype=torch.float64, device=binned.device)
    for axis in range(2, binned.ndim):
        length = binned.shape[axis] - 1
        first, second = binned.narrow(axis, 0, length).flatten(1), binned.narrow(axis, 1, length).flatten(1)
        one = torch.ones_like(first, dtype=torch.float64)
        count.scatter_add_(1, first * levels + second, one).scatter_add_(1, second * levels + first, one)
    matrix: Tensor = count / count.sum(1, keepdim=True)
    return matrix.reshape(-1, levels, levels)


def _entropy(probabilities: Tensor) -> Tensor:
    """In bits."""
    bits: Tensor = torch.special.xlogy(probabilities, probabilities).sum(1) / -math.log(2)
    return bits
