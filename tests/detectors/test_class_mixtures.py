import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from medadv.detectors import ClassGaussians, ClassMixtures


def blobs(counts, dimensions=3, seed=0, apart=60.0):
    """Features of blobs far apart, and which blob each belongs to, in mixed order."""
    draw = np.random.default_rng(seed)
    blob = draw.permutation(np.repeat(np.arange(len(counts)), counts))
    mixing = draw.normal(size=(len(counts), dimensions, dimensions))
    centres = apart * np.arange(len(counts))[:, None] * np.eye(dimensions)[np.arange(len(counts)) % dimensions]
    features = centres[blob] + np.einsum("np,npq->nq", draw.normal(size=(len(blob), dimensions)), mixing[blob])
    return torch.from_numpy(features), torch.from_numpy(blob)


@settings(max_examples=20, deadline=None)
@given(classes=st.integers(1, 3), shrinkage=st.floats(0.01, 1.0), seed=st.integers(0, 100))
def test_one_component_is_one_gaussian(classes, shrinkage, seed):
    draw = torch.Generator().manual_seed(seed)
    features, labels = torch.randn(40, 4, generator=draw), torch.arange(40) % classes
    one, mixture = ClassGaussians.fit(features, labels, shrinkage), ClassMixtures.fit(features, labels, 1, shrinkage)
    assert mixture.owners.tolist() == list(range(classes))
    for name in ("means", "whitening", "weights"):
        torch.testing.assert_close(getattr(mixture.gaussians, name), getattr(one, name), rtol=1e-9, atol=1e-9)
    elsewhere = 2 * torch.randn(9, 4, generator=draw)
    expected = one.squared_distances(elsewhere)
    torch.testing.assert_close(mixture.squared_distances(elsewhere), expected, rtol=1e-9, atol=1e-9)


def test_components_far_apart_have_the_moments_of_their_images():
    shrinkage = 0.05
    features, blob = blobs([30, 20, 25, 15])
    labels = blob // 2
    mixture = ClassMixtures.fit(features, labels, 2, shrinkage)
    assert mixture.owners.tolist() == [0, 0, 1, 1]
    found = {round(float(weight * len(blob))): row for row, weight in enumerate(mixture.gaussians.weights)}
    assert sorted(found) == [15, 20, 25, 30]
    for number, count in enumerate([30, 20, 25, 15]):
        own, row = features[blob == number].numpy(), found[count]
        of_class = features[labels == number // 2].numpy()
        covariance = (1 - shrinkage) * np.cov(own, rowvar=False, ddof=0)
        covariance += shrinkage * of_class.var(axis=0).mean() * np.eye(3)
        np.testing.assert_allclose(mixture.gaussians.means[row].numpy(), own.mean(0), rtol=1e-9)
        precision = mixture.gaussians.whitening[row] @ mixture.gaussians.whitening[row].T
        np.testing.assert_allclose(np.linalg.inv(precision.numpy()), covariance, rtol=1e-6, atol=1e-8)


def test_every_blob_is_found_whatever_its_size():
    counts = [40, 3, 12, 5, 25]
    features, blob = blobs(counts, dimensions=5)
    mixture = ClassMixtures.fit(features, torch.zeros_like(blob), 5)
    assert sorted(round(float(weight * len(blob))) for weight in mixture.gaussians.weights) == sorted(counts)


def test_overlapping_components_agree_with_the_shares_that_they_give():
    """A fixed point of expectation and maximisation, the shares from SciPy's densities."""
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 2)))
    features[:100, 0] = 2.5 + 0.5 * features[:100, 0]
    mixture = ClassMixtures.fit(features, torch.zeros(300, dtype=torch.int64), 2, 0.01).gaussians
    densities = []
    for weight, mean, root in zip(mixture.weights, mixture.means, mixture.whitening, strict=True):
        covariance = np.linalg.inv((root @ root.T).numpy())
        densities.append(float(weight) * multivariate_normal(mean.numpy(), covariance).pdf(features.numpy()))
    shares = np.array(densities).T / np.sum(densities, axis=0)[:, None]
    assert (shares.max(axis=1) < 0.9).sum() > 10
    np.testing.assert_allclose(mixture.weights.numpy(), shares.mean(axis=0), atol=1e-3)
    means = shares.T @ features.numpy() / shares.sum(axis=0)[:, None]
    np.testing.assert_allclose(mixture.means.numpy(), means, atol=1e-2)


def test_the_distance_is_that_to_the_most_likely_component_of_each_class():
    features, blob = blobs([30, 20, 25, 15], apart=6.0)
    mixture = ClassMixtures.fit(features, blob // 2, 2, 0.1)
    elsewhere = 3 + 4 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = np.zeros((50, 2))
    likeliest_is_not_nearest = 0
    for label in range(2):
        rows = (mixture.owners == label).nonzero().flatten().tolist()
        logs, squares = [], []
        for row in rows:
            root = mixture.gaussians.whitening[row].numpy()
            mean, precision = mixture.gaussians.means[row].numpy(), root @ root.T
            density = multivariate_normal(mean, np.linalg.inv(precision), allow_singular=True)
            logs.append(np.log(float(mixture.gaussians.weights[row])) + density.logpdf(elsewhere.numpy()))
            offsets = elsewhere.numpy() - mean
            squares.append(np.einsum("np,pq,nq->n", offsets, precision, offsets))
        chosen = np.argmax(logs, axis=0)
        likeliest_is_not_nearest += int((chosen != np.argmin(squares, axis=0)).sum())
        expected[:, label] = np.array(squares)[chosen, np.arange(50)]
    assert likeliest_is_not_nearest > 0
    np.testing.assert_allclose(mixture.squared_distances(elsewhere).numpy(), expected, rtol=1e-6)


def test_the_likelihood_of_a_mixture_is_higher_than_of_one_gaussian():
    features, blob = blobs([40, 30, 50], apart=8.0)
    labels = torch.zeros_like(blob)
    one = ClassGaussians.fit(features, labels, 0.01).log_density(features).mean()
    two, three = (ClassMixtures.fit(features, labels, c, 0.01).gaussians.log_density(features).mean() for c in (2, 3))
    assert one < two < three


def test_gradients_and_rows():
    features, blob = blobs([30, 20], apart=5.0)
    mixture = ClassMixtures.fit(features, torch.zeros_like(blob), 2)
    x = features[:7].clone().requires_grad_()
    assert torch.autograd.gradcheck(mixture.squared_distances, (x,))
    whole = mixture.squared_distances(features)
    torch.testing.assert_close(mixture.squared_distances(features[3:9]), whole[3:9], rtol=1e-12, atol=0)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_components_that_stand_for_too_few_images_are_left_out(count):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(count, 3, generator=draw)
    mixture = ClassMixtures.fit(features, torch.zeros(count, dtype=torch.int64), 64)
    sizes = mixture.gaussians.weights * count
    assert len(sizes) <= max(count // 2, 1)
    assert float(sizes.sum()) == pytest.approx(count)
    assert torch.isfinite(mixture.squared_distances(features)).all()


def test_repeated_images_make_no_component_of_no_extent():
    features = torch.cat([torch.zeros(10, 2), torch.randn(30, 2, generator=torch.Generator().manual_seed(0)) + 9])
    mixture = ClassMixtures.fit(features, torch.zeros(40, dtype=torch.int64), 3)
    assert torch.isfinite(mixture.gaussians.whitening).all()


def test_a_value():
    features, blob = blobs([20, 20])
    first, again = (ClassMixtures.fit(features, blob, 2) for _ in range(2))
    assert first == again
    assert hash(first) == hash(again)
    assert first != ClassMixtures.fit(features, blob, 2, 0.2)
    assert first != first.gaussians
    assert repr(first).startswith("ClassMixtures(components=[")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"components": 1.5}, "components must be a whole number"),
        ({"shrinkage": 0.0}, "shrinkage must be above 0"),
        ({"features": torch.full((8, 2), torch.nan)}, "features must be finite"),
        ({"features": torch.ones(8, 2)}, "features must vary within every class"),
        ({"labels": torch.tensor([0] * 7 + [1])}, "at least two images of every class"),
    ],
)
def test_what_is_refused(change, words):
    given = {"features": torch.randn(8, 2), "labels": torch.arange(8) % 2, "components": 2, **change}
    with pytest.raises((TypeError, ValueError), match=words):
        ClassMixtures.fit(**given)
