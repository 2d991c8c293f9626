import pytest
import torch
from scipy import stats

from medadv.metrics.realism import NaturalSceneModel, natural_scene_features
from medadv.metrics.realism.natural_scene import _asymmetric, _gaussian


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 4.0])
def test_the_shape_of_a_generalised_gaussian_is_found(shape):
    values = torch.from_numpy(stats.gennorm.rvs(shape, scale=3.0, size=(1, 400_000), random_state=0))
    found, variance = _gaussian(values)
    assert float(found) == pytest.approx(shape, rel=0.02)
    assert float(variance) == pytest.approx(stats.gennorm.var(shape, scale=3.0), rel=0.02)


@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (0.5, 2.0), (3.0, 1.0)])
def test_both_sides_of_an_asymmetric_one_are_found(left, right):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(1, 400_000, generator=generator, dtype=torch.float64).abs()
    # A side is as likely as it is wide.
    to_the_left = torch.rand(draws.shape, generator=generator) < left / (left + right)
    shape, mean, left_square, right_square = _asymmetric(torch.where(to_the_left, -left * draws, right * draws))
    assert float(shape) == pytest.approx(2.0, rel=0.03)
    assert float(left_square) == pytest.approx(left**2, rel=0.02)
    assert float(right_square) == pytest.approx(right**2, rel=0.02)
    # The mean of two half Gaussians: (right - left) sqrt(2 / pi).
    assert float(mean) == pytest.approx((right - left) * (2 / torch.pi) ** 0.5, abs=0.02)


def test_features_do_not_depend_on_the_unit_or_on_other_images():
    images = torch.rand(3, 1, 24, 20, generator=torch.Generator().manual_seed(0))
    features = natural_scene_features(images)
    assert features.shape == (3, 36)
    assert bool(torch.isfinite(features).all())
    scaled = natural_scene_features(-1024 + 4095 * images.double(), (-1024.0, 3071.0))
    torch.testing.assert_close(scaled, natural_scene_features(images.double()), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(natural_scene_features(images[1:2])[0], features[1], rtol=1e-6, atol=1e-8)


def test_a_flat_image_has_finite_features():
    assert bool(torch.isfinite(natural_scene_features(torch.full((1, 1, 16, 16), 0.3))).all())


def test_the_distance_is_mahalanobis():
    features = torch.randn(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = NaturalSceneModel.fit(features)
    away = torch.tensor([[2.0, 0, 0, 0, 0]], dtype=torch.float64)
    inverse = torch.linalg.inv(torch.cov(features.mT))
    difference = away[0] - features.mean(0)
    assert float(model.distance(away)) == pytest.approx(float((difference @ inverse @ difference).sqrt()))


def test_noise_and_blur_leave_the_clean_images():
    from scipy.ndimage import gaussian_filter

    from medadv import ops

    rng = torch.Generator().manual_seed(0)
    clean = torch.stack(
        [torch.from_numpy(gaussian_filter(torch.rand(48, 48, generator=rng).numpy(), 1.0)) for _ in range(80)]
    )[:, None]
    clean = (clean - clean.amin()) / (clean.amax() - clean.amin())
    model = NaturalSceneModel.fit(natural_scene_features(clean[:60]))
    held = natural_scene_features(clean[60:])
    noisy = natural_scene_features((clean[60:] + 0.1 * torch.randn(20, 1, 48, 48, generator=rng)).clamp(0, 1))
    blurred = natural_scene_features(ops.gaussian_blur(clean[60:], 2.0))
    assert float(model.distance(noisy).min()) > float(model.distance(held).max())
    assert float(model.distance(blurred).min()) > float(model.distance(held).max())


def test_wrong_images():
    with pytest.raises(ValueError, match="at least 16 voxels"):
        natural_scene_features(torch.rand(1, 1, 8, 32))
    with pytest.raises(ValueError, match="at least 16 voxels"):
        natural_scene_features(torch.rand(1, 1, 16, 16, 16))
    with pytest.raises(ValueError, match="at least 2 images"):
        NaturalSceneModel.fit(torch.rand(1, 36))
    with pytest.raises(ValueError, match=r"features must be \[N, 36\]"):
        NaturalSceneModel.fit(torch.rand(40, 36)).distance(torch.rand(2, 35))
