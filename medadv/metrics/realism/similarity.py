"""How alike two images are: signal-to-noise ratio and structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from medadv import _arguments, ops
from medadv.metrics.realism._images import Bounds, check_pair

# Wang et al. (2004): a Gaussian window of 11 voxels with sigma 1.5, and two constants relative to the range.
_SIGMA = 1.5
_RADIUS = 5
_TRUNCATE = 3.3  # 3.3 sigma is just below the radius
_K1, _K2 = 0.01, 0.03

# Wang et al., "Multiscale structural similarity for image quality assessment" (2003), from fine to coarse.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(clean: Tensor, changed: Tensor, bounds: Bounds = (0.0, 1.0)) -> Tensor:
    """Peak signal-to-noise ratio, 10 log10((high - low)^2 / mean squared change).

    Args:
        clean, changed: [N, C, (D,) H, W], floating point.
        bounds: (low, high) in image units.

    Returns:
        [N] float64 in decibels; infinity where nothing changed.

    Raises:
        TypeError, ValueError: not two batches of finite images of one shape, bounds that do not rise.

    >>> clean = torch.zeros(1, 1, 4, 4)
    >>> psnr(clean, clean + 0.1)
    tensor([20.0000], dtype=torch.float64)
    """
    width = check_pair(clean, changed, bounds)
    square = (changed.double() - clean.double()).flatten(1).square().mean(1)
    return 10 * torch.log10(width**2 / square)


def ssim(clean: Tensor, changed: Tensor, bounds: Bounds = (0.0, 1.0)) -> Tensor:
    """Structural similarity, the mean over voxels whose window lies in the image.

    Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004): a Gaussian window
    of 11 voxels along every axis, sigma 1.5, K1 = 0.01, K2 = 0.03, biased variances; the mean over channels.

    Args:
        clean, changed: [N, C, (D,) H, W], floating point, at least 11 voxels along every axis.
        bounds: (low, high) in image units.

    Returns:
        [N] float64, at most 1; 1 where nothing changed.

    Raises:
        TypeError, ValueError: as for `psnr`; an axis that is too short.

    >>> clean = torch.rand(1, 1, 16, 16)
    >>> float(ssim(clean, clean))
    1.0
    """
    width = check_pair(clean, changed, bounds)
    _check_size(clean, scales=1)
    return _structure(clean, changed, width)[0]


def ms_ssim(clean: Tensor, changed: Tensor, bounds: Bounds = (0.0, 1.0), scales: int = 5) -> Tensor:
    """Structural similarity over several scales.

    Wang et al. (2003): contrast and structure at every scale (each half the one before, by means of 2 x 2 voxels),
    luminance at the coarsest, raised to weights. Fewer scales than 5 take the first weights, divided by their sum. A
    negative factor counts as 0.

    Args:
        clean, changed: [N, C, (D,) H, W], floating point, at least 11 * 2^(scales - 1) voxels along every axis.
        bounds: (low, high) in image units.
        scales: 1 to 5.

    Returns:
        [N] float64, from 0 to 1.

    Raises:
        TypeError, ValueError: as for `psnr`; scales out of range; an axis that is too short.

    >>> clean = torch.rand(1, 1, 24, 24)
    >>> float(ms_ssim(clean, clean, scales=2))
    1.0
    """
    width = check_pair(clean, changed, bounds)
    scales = _arguments.whole(scales, "scales", at_least=1, below=len(_SCALE_WEIGHTS) + 1)
    _check_size(clean, scales)
    shrink = functional.avg_pool2d if clean.ndim == 4 else functional.avg_pool3d
    weights = _SCALE_WEIGHTS[:scales]
    product = torch.ones(len(clean), dtype=torch.float64, device=clean.device)
    clean, changed = clean.double(), changed.double()
    for scale, weight in enumerate(weights):
        similarity, contrast = _structure(clean, changed, width)
        factor = similarity if scale == scales - 1 else contrast
        product = product * factor.clamp_min(0) ** (weight / sum(weights))
        clean, changed = shrink(clean, 2), shrink(changed, 2)
    return product


def _check_size(images: Tensor, scales: int) -> None:
    least = (2 * _RADIUS + 1) * 2 ** (scales - 1)
    if min(images.shape[2:]) < least:
        at = f" for {scales} scales" if scales > 1 else ""
        raise ValueError(
            f"images must have at least {least} voxels along every axis{at}, got {list(images.shape[2:])}."
        )


def _structure(clean: Tensor, changed: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Similarity, and its factor of contrast and structure, [N] each."""
    x, y = clean.double(), changed.double()
    means = [_window(values) for values in (x, y, x * x, y * y, x * y)]
    mean_x, mean_y = means[:2]
    variance_x, variance_y, covariance = means[2] - mean_x**2, means[3] - mean_y**2, means[4] - mean_x * mean_y
    c1, c2 = (_K1 * width) ** 2, (_K2 * width) ** 2
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * contrast).flatten(1).mean(1), contrast.flatten(1).mean(1)


def _window(values: Tensor) -> Tensor:
    blurred = ops.gaussian_blur(values, _SIGMA, truncate=_TRUNCATE)
    for axis in range(2, values.ndim):
        blurred = blurred.narrow(axis, _RADIUS, values.shape[axis] - 2 * _RADIUS)
    return blurred
