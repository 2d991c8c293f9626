import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from medadv.detectors import ClassGaussians


def sample(count=60, dimensions=4, classes=3, seed=0):
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    mixing = draw.normal(size=(classes, dimensions, dimensions))
    features = np.einsum("np,npq->nq", draw.normal(size=(count, dimensions)), mixing[labels]) + 3.0 * labels[:, None]
    return torch.from_numpy(features), torch.from_numpy(labels)


def scipy_densities(features, labels, shrinkage):
    """Weights and SciPy's densities, from NumPy's covariances."""
    for label in range(int(labels.max()) + 1):
        own = features[labels == label].numpy()
        covariance = np.cov(own, rowvar=False, ddof=0)
        identity = np.eye(own.shape[1]) * np.trace(covariance) / own.shape[1]
        shrunk = (1 - shrinkage) * covariance + shrinkage * identity
        yield len(own) / len(features), multivariate_normal(own.mean(0), shrunk)


@settings(max_examples=25, deadline=None)
@given(
    dimensions=st.integers(2, 6),
    classes=st.integers(1, 4),
    shrinkage=st.floats(0.01, 1.0),
    seed=st.integers(0, 100),
)
def test_log_density_is_scipys(dimensions, classes, shrinkage, seed):
    features, labels = sample(60, dimensions, classes, seed)
    elsewhere = 2 * sample(20, dimensions, classes, seed + 1)[0]
    parts = [np.log(weight) + each.logpdf(elsewhere) for weight, each in scipy_densities(features, labels, shrinkage)]
    found = ClassGaussians.fit(features, labels, shrinkage).log_density(elsewhere)
    np.testing.assert_allclose(found.numpy(), logsumexp(np.stack(parts), axis=0), rtol=1e-9, atol=1e-9)


def test_squared_distances_are_mahalanobis():
    features, labels = sample()
    gaussians = ClassGaussians.fit(features, labels, 0.2)
    found = gaussians.squared_distances(features[:7]).numpy()
    for label, (_, each) in enumerate(scipy_densities(features, labels, 0.2)):
        offsets = features[:7].numpy() - each.mean
        expected = np.einsum("np,pq,nq->n", offsets, np.linalg.inv(each.cov), offsets)
        np.testing.assert_allclose(found[:, label], expected, rtol=1e-9)


def test_the_gradient_leads_to_the_mean():
    features, labels = sample(classes=1)
    gaussians = ClassGaussians.fit(features, labels, 0.3)
    x = features[:3].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(gaussians.log_density(x).sum(), x)
    precision = gaussians.whitening[0] @ gaussians.whitening[0].T
    torch.testing.assert_close(gradient, -(x.detach() - gaussians.means) @ precision)


def test_fewer_images_than_dimensions_are_enough():
    features, labels = sample(8, 6, 2)
    gaussians = ClassGaussians.fit(features, labels)
    assert bool(torch.isfinite(gaussians.log_density(features)).all())


def test_rows_do_not_depend_on_each_other():
    features, labels = sample()
    gaussians = ClassGaussians.fit(features, labels)
    whole = gaussians.log_density(features.float())
    for rows in (*torch.arange(60).split(7), *torch.arange(60).split(1)[:5], torch.arange(60).flip(0)):
        torch.testing.assert_close(gaussians.log_density(features[rows].float()), whole[rows], rtol=1e-13, atol=0)


def test_is_a_value():
    features, labels = sample()
    one, same, other = (ClassGaussians.fit(features, labels, shrinkage) for shrinkage in (0.1, 0.1, 0.2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert repr(one) == repr(same) != repr(other)
    assert repr(one).startswith("ClassGaussians(classes=3, dimensions=4, sha256='")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shrinkage": 0}, "shrinkage must be above 0"),
        ({"shrinkage": 1.5}, "shrinkage must be at most 1, got 1.5"),
        ({"features": torch.zeros(60)}, r"features must be \[N, P\] with int64 labels \[N\], got \[60\]"),
        ({"labels": torch.zeros(60)}, "got .* of torch.float32"),
        ({"labels": torch.arange(60)}, "at least two images of every class"),
        ({"features": torch.full((60, 4), torch.nan)}, "features must be finite"),
        ({"features": torch.ones(60, 4)}, "features must vary within every class"),
    ],
)
def test_wrong_arguments(change, words):
    features, labels = sample()
    with pytest.raises(ValueError, match=words):
        ClassGaussians.fit(**{"features": features, "labels": labels, **change})


def test_other_dimensions_are_refused():
    gaussians = ClassGaussians.fit(*sample())
    with pytest.raises(ValueError, match=r"features must be \[N, 4\], got \[2, 5\]"):
        gaussians.log_density(torch.zeros(2, 5))
