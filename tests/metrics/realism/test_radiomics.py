import math

import numpy as np
import pytest
import torch
from scipy import linalg, stats
from skimage.feature import graycomatrix, graycoprops

from medadv.metrics.realism import frechet_distance, radiomic_features
from medadv.metrics.realism.radiomics import FEATURES


def by_name(features):
    return dict(zip(FEATURES, features.tolist(), strict=True))


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1024.0, 3071.0)])
def test_first_order_features_are_scipys(bounds):
    share = torch.rand(1, 2, 9, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2
    images = bounds[0] + (bounds[1] - bounds[0]) * share
    found = by_name(radiomic_features(images, bounds, levels=16)[0])
    flat = share.flatten().numpy()
    histogram = np.histogram(flat, 16, (0, 1))[0]
    expected = {
        "mean": flat.mean(),
        "variance": flat.var(),
        "skewness": stats.skew(flat),
        "kurtosis": stats.kurtosis(flat, fisher=False),
        "entropy": stats.entropy(histogram, base=2),
        "percentile 10": np.percentile(flat, 10),
        "median": np.median(flat),
        "percentile 90": np.percentile(flat, 90),
        "mean absolute deviation": np.abs(flat - flat.mean()).mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_texture_is_scikit_images():
    levels = 8
    images = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2
    found = radiomic_features(images, levels=levels)
    for image, features in zip(images, found, strict=True):
        binned = (image[0].numpy() * levels).astype(np.uint8)
        counts = graycomatrix(binned, [1], [0, np.pi / 2], levels=levels, symmetric=True).astype(float)
        # Both directions have as many pairs in a square image, so that the pooled matrix is their mean.
        pooled = (counts / counts.sum((0, 1))).mean(axis=3, keepdims=True)
        for name in ("contrast", "dissimilarity", "homogeneity", "energy", "correlation"):
            assert by_name(features)[name] == pytest.approx(float(graycoprops(pooled, name)[0, 0]), rel=1e-9)
        assert by_name(features)["joint entropy"] == pytest.approx(stats.entropy(pooled.ravel(), base=2))


def test_stripes_along_the_depth_are_seen():
    stripes = torch.zeros(1, 1, 4, 5, 6)
    stripes[:, :, ::2] = 1.0
    found = by_name(radiomic_features(stripes, levels=2)[0])
    along_depth, others = 3 * 5 * 6, 4 * 4 * 6 + 4 * 5 * 5
    assert found["contrast"] == pytest.approx(along_depth / (along_depth + others))


def test_a_flat_image_has_finite_features():
    assert bool(torch.isfinite(radiomic_features(torch.full((1, 1, 4, 4), 1.0))).all())


def test_the_frechet_distance_is_that_of_two_gaussians():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(300, 4, generator=generator, dtype=torch.float64) @ torch.randn(4, 4, generator=generator).double()
    b = torch.randn(200, 4, generator=generator, dtype=torch.float64) * 2 + 1
    scale = a.std(0)
    first, second = (a / scale).numpy(), (b / scale).numpy()
    covariances = np.cov(first.T), np.cov(second.T)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_a_feature_that_never_varies_is_left_as_it_is():
    a = torch.zeros(10, 2, dtype=torch.float64)
    a[:, 0] = torch.arange(10)
    b = a.clone()
    b[:, 1] = 3.0
    assert frechet_distance(a, b) == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: radiomic_features(torch.full((1, 1, 4, 4), 2.0)), "within the bounds 0 to 1"),
        (lambda: radiomic_features(torch.rand(1, 1, 1, 4)), "at least 2 voxels"),
        (lambda: radiomic_features(torch.rand(1, 1, 4, 4), levels=1), "levels must be at least 2"),
        (lambda: frechet_distance(torch.rand(3, 4), torch.rand(3, 5)), "features must have 4 columns"),
        (lambda: frechet_distance(torch.rand(1, 4), torch.rand(3, 4)), "reference must be"),
    ],
)
def test_wrong_arguments(call, error):
    with pytest.raises(ValueError, match=error):
        call()


def test_entropy_is_in_bits():
    halves = torch.cat([torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)], 3)
    assert by_name(radiomic_features(halves)[0])["entropy"] == pytest.approx(1.0)
    assert math.isclose(by_name(radiomic_features(halves)[0])["mean"], 0.5)
