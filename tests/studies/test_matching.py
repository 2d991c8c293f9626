"""Mixtures of two budgets whose success is a level exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.bias_field.matching import Mixture

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@given(SHARES, st.floats(0.01, 1))
def test_the_success_of_the_mixture_is_the_level(shares, level):
    success = np.array(shares)[:, None]
    mixture = Mixture.of(level, success)
    if success.max() >= level:
        assert mixture.mean(success, unchanged=0.0)[0] == pytest.approx(level)
        assert 0 <= mixture.share[0] <= 1
    else:
        assert np.isnan(mixture.mean(success, unchanged=0.0)[0])


def test_between_two_budgets():
    mixture = Mixture.of(0.5, np.array([[0.2], [0.4], [0.8], [1.0]]))
    assert mixture.upper.tolist() == [2]
    assert mixture.share[0] == pytest.approx(0.25)
    assert mixture.mean(np.array([[1.0], [2.0], [10.0], [90.0]]), unchanged=0.0)[0] == pytest.approx(4.0)


def test_below_the_smallest_budget_the_rest_stays_unchanged():
    mixture = Mixture.of(0.3, np.array([[0.6], [0.9]]))
    assert mixture.share[0] == pytest.approx(0.5)
    assert mixture.mean(np.array([[0.8], [0.1]]), unchanged=1.0)[0] == pytest.approx(0.9)


def test_the_first_crossing_counts_where_success_falls_again():
    mixture = Mixture.of(0.5, np.array([[0.4], [0.6], [0.1], [0.9]]))
    assert mixture.upper.tolist() == [1]
    assert mixture.share[0] == pytest.approx(0.5)


def test_samples_are_matched_on_their_own():
    success = np.array([[0.0, 0.5, 0.2], [1.0, 0.5, 0.4]])
    mixed = Mixture.of(0.5, success).mean(success * 0 + np.array([[1.0], [3.0]]), unchanged=0.0)
    np.testing.assert_allclose(mixed, [2.0, 1.0, np.nan])
