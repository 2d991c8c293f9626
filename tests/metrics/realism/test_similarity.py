import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medadv.metrics.realism import ms_ssim, psnr, ssim

BOUNDS = [(0.0, 1.0), (-1024.0, 3071.0)]
SHAPES = [(2, 1, 20, 17), (2, 3, 12, 30), (1, 1, 12, 13, 14)]


def pair(bounds, shape, seed=0, noise=0.1):
    low, high = bounds
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(shape, generator=generator)
    changed = (clean + noise * torch.randn(shape, generator=generator)).clamp(0, 1)
    return low + (high - low) * clean, low + (high - low) * changed


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_psnr_is_scikit_images(bounds, shape):
    clean, changed = pair(bounds, shape)
    expected = [
        peak_signal_noise_ratio(x.double().numpy(), y.double().numpy(), data_range=bounds[1] - bounds[0])
        for x, y in zip(clean, changed, strict=True)
    ]
    assert psnr(clean, changed, bounds).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_is_scikit_images(bounds, shape):
    clean, changed = pair(bounds, shape)
    expected = [
        np.mean(
            [
                structural_similarity(
                    a.double().numpy(),
                    b.double().numpy(),
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                    data_range=bounds[1] - bounds[0],
                )
                for a, b in zip(x, y, strict=True)
            ]
        )
        for x, y in zip(clean, changed, strict=True)
    ]
    assert ssim(clean, changed, bounds).tolist() == pytest.approx(expected, rel=1e-9)


def test_nothing_changed():
    x = torch.rand(2, 1, 44, 44)
    assert psnr(x, x).tolist() == [math.inf, math.inf]
    assert ssim(x, x).tolist() == pytest.approx([1, 1])
    assert ms_ssim(x, x, scales=3).tolist() == pytest.approx([1, 1])


def test_one_scale_is_ssim():
    clean, changed = pair((0.0, 1.0), (2, 1, 20, 20))
    torch.testing.assert_close(ms_ssim(clean, changed, scales=1), ssim(clean, changed))


def test_scales_are_weighted_factors():
    clean, changed = pair((0.0, 1.0), (1, 1, 48, 48), noise=0.2)
    half = [torch.nn.functional.avg_pool2d(x.double(), 2) for x in (clean, changed)]
    # Contrast and structure alone, by taking the luminance out of scikit-image's definition.
    x, y = (image[0, 0].double().numpy() for image in (clean, changed))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    _, full = structural_similarity(x, y, full=True, **options)
    from scipy.ndimage import gaussian_filter

    mean_x, mean_y = (gaussian_filter(image, 1.5, truncate=3.5) for image in (x, y))
    luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    contrast = (full / luminance)[5:-5, 5:-5].mean()
    first, second = 0.0448 / 0.3304, 0.2856 / 0.3304
    expected = contrast**first * float(ssim(*half)) ** second
    assert float(ms_ssim(clean, changed, scales=2)) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.01, 0.3), st.integers(0, 100))
def test_more_noise_is_less_alike(noise, seed):
    clean, little = pair((0.0, 1.0), (1, 1, 44, 44), seed, noise)
    _, more = pair((0.0, 1.0), (1, 1, 44, 44), seed, noise * 2)
    for metric in (psnr, ssim, lambda x, y: ms_ssim(x, y, scales=3)):
        assert float(metric(clean, more)) < float(metric(clean, little))


@pytest.mark.parametrize("metric", [psnr, ssim, ms_ssim])
@pytest.mark.parametrize(
    ("clean", "changed", "bounds", "error"),
    [
        (torch.rand(1, 1, 20, 20), torch.rand(1, 1, 20, 21), (0.0, 1.0), "changed must have the shape of clean"),
        (torch.rand(20, 20), torch.rand(20, 20), (0.0, 1.0), r"clean must be \[N, C, H, W\]"),
        (
            torch.zeros(1, 1, 20, 20, dtype=torch.uint8),
            torch.rand(1, 1, 20, 20),
            (0.0, 1.0),
            "clean must be a floating",
        ),
        (torch.full((1, 1, 20, 20), torch.nan), torch.rand(1, 1, 20, 20), (0.0, 1.0), "clean must be finite"),
        (torch.rand(1, 1, 20, 20), torch.rand(1, 1, 20, 20), (1.0, 0.0), "bounds must be"),
    ],
)
def test_wrong_images(metric, clean, changed, bounds, error):
    with pytest.raises((TypeError, ValueError), match=error):
        metric(clean, changed, bounds)


def test_images_that_are_too_small():
    small = torch.rand(1, 1, 10, 30)
    with pytest.raises(ValueError, match="at least 11 voxels"):
        ssim(small, small)
    with pytest.raises(ValueError, match=r"at least 176 voxels along every axis for 5 scales, got \[100, 100\]"):
        ms_ssim(torch.rand(1, 1, 100, 100), torch.rand(1, 1, 100, 100))
    with pytest.raises(ValueError, match="scales must be below 6"):
        ms_ssim(small, small, scales=6)
