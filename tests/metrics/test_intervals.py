"""Wilson's interval against SciPy's implementation and its own coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from medadv.metrics import wilson


@given(st.data(), st.integers(1, 100_000), st.floats(0.01, 0.999))
def test_agrees_with_scipy(data, trials, confidence):
    successes = data.draw(st.integers(0, trials))
    expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose(wilson(successes, trials, confidence), tuple(expected), rtol=1e-9, atol=1e-12)


@given(st.data(), st.integers(1, 1000))
def test_contains_the_proportion_and_mirrors(data, trials):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    np.testing.assert_allclose(wilson(trials - successes, trials), (1 - high, 1 - low), atol=1e-12)


def test_ends_are_exact():
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0
    assert wilson(0, 7)[1] > 0.3


def test_coverage_of_the_stated_confidence():
    trials, proportion = 80, 0.3
    weights = binom.pmf(np.arange(trials + 1), trials, proportion)
    covered = [wilson(k, trials)[0] <= proportion <= wilson(k, trials)[1] for k in range(trials + 1)]
    assert abs(weights[covered].sum() - 0.95) < 0.02


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ((1, 0), ValueError, "trials"),
        ((-1, 5), ValueError, "successes"),
        ((6, 5), ValueError, "successes"),
        ((1, 5, 1.0), ValueError, "confidence"),
        ((1, 5, float("nan")), ValueError, "confidence"),
        ((1.0, 5), TypeError, "successes"),
        ((True, 5), TypeError, "successes"),
        ((1, "5"), TypeError, "trials"),
    ],
)
def test_wrong_input_is_one_sentence(arguments, error, word):
    with pytest.raises(error, match=word) as caught:
        wilson(*arguments)
    assert "\n" not in str(caught.value)


def test_numpy_integers_are_integers():
    assert wilson(np.int64(3), np.int32(9)) == wilson(3, 9)
