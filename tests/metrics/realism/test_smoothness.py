import math

import pytest
import torch

from medadv import ops
from medadv.metrics.realism import log_ratio, log_ratio_bending, log_ratio_variation

BOUNDS = [(0.0, 1.0), (-1024.0, 3071.0)]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_the_ratio_of_values_above_the_floor(bounds):
    low, high = bounds
    width = high - low
    clean = torch.full((2, 1, 4, 4), low + 0.4 * width, dtype=torch.float64)
    changed = torch.full((2, 1, 4, 4), low + 0.6 * width, dtype=torch.float64)
    expected = math.log((0.6 + 1 / 255) / (0.4 + 1 / 255))
    torch.testing.assert_close(log_ratio(clean, changed, bounds), torch.full_like(clean, expected))


@pytest.mark.parametrize("size", [(9, 11), (5, 6, 7)])
def test_a_ramp_of_log_gain(size):
    width = size[-1]
    clean = torch.full((1, 2, *size), 0.2, dtype=torch.float64)
    ramp = 0.01 * torch.arange(width, dtype=torch.float64)
    changed = (clean + 1 / 255) * ramp.exp() - 1 / 255
    # A difference of 0.01 between all neighbours along the width, and no curvature.
    assert float(log_ratio_variation(clean, changed)) == pytest.approx(0.01 * (width - 1) / width)
    assert float(log_ratio_bending(clean, changed)) == pytest.approx(0, abs=1e-12)


def test_a_bias_field_is_smoother_than_noise_of_the_same_size():
    generator = torch.Generator().manual_seed(0)
    clean = 0.2 + 0.5 * torch.rand(3, 1, 32, 32, generator=generator)
    field = ops.bias_field(clean, 0.2 * torch.randn(3, 1, 5, 5, generator=generator)).clamp(0, 1)
    size = (field - clean).square().mean().sqrt()
    noise = (clean + size * torch.randn(clean.shape, generator=generator)).clamp(0, 1)
    for metric in (log_ratio_variation, log_ratio_bending):
        assert bool((metric(clean, field) * 3 < metric(clean, noise)).all())


def test_images_outside_the_bounds():
    with pytest.raises(ValueError, match="changed must lie within the bounds 0 to 1"):
        log_ratio(torch.rand(1, 1, 4, 4), torch.full((1, 1, 4, 4), 1.5))
