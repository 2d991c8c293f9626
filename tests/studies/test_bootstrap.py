"""Intervals from drawing images again, against what is known of means."""

import numpy as np
import pytest

from studies._common.bootstrap import draws, estimate, means


def test_draws_are_samples_with_replacement_and_the_first_is_the_sample_itself():
    weights = draws(7, 500, seed=3)
    assert weights.shape == (501, 7)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights[0], 1 / 7)
    counts = weights[1:] * 7
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    # Each image is drawn once per sample on average, with the variance of a binomial number.
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.2)
    np.testing.assert_allclose(counts.var(0), 6 / 7, atol=0.25)
    assert np.array_equal(weights, draws(7, 500, seed=3))
    assert not np.array_equal(weights, draws(7, 500, seed=4))


def test_means_are_those_of_the_images_drawn():
    values = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 4.0]])
    weights = np.array([[1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0], [0.0, 1 / 3, 2 / 3]])
    np.testing.assert_allclose(means(values, weights), [[1 / 3, 1, 0], [2, 0, 10 / 3]])


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = estimate(means(values, draws(400, 4000, 0)))
    half = 1.96 * values.std() / 20
    assert found["value"] == pytest.approx(values.mean(), rel=1e-5)
    assert found["low"] == pytest.approx(values.mean() - half, abs=0.02)
    assert found["high"] == pytest.approx(values.mean() + half, abs=0.02)


def test_the_interval_of_a_paired_difference_is_narrower_than_that_of_its_parts():
    draw = np.random.default_rng(1)
    one = draw.normal(0, 1, 300)
    other = one + draw.normal(0.1, 0.1, 300)
    weights = draws(300, 2000, 0)
    difference = estimate(means(other, weights) - means(one, weights))
    assert 0 < difference["low"] < 0.1 < difference["high"] < 0.2
    assert difference["high"] - difference["low"] < 0.05


def test_samples_without_a_value_widen_to_no_interval():
    assert estimate(np.array([np.nan, 0.1])) == {"value": None, "low": None, "high": None}
    rarely = np.full(1001, 0.5)
    rarely[1:21] = np.nan
    assert estimate(rarely) == {"value": 0.5, "low": 0.5, "high": 0.5}
    rarely[1:41] = np.nan
    assert estimate(rarely)["low"] is None
