import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medadv.detectors import ClassGaussians, GaussianDetector, excess, threshold_at
from medadv.models import Victim
from medadv.models.features import features_of


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60), st.floats(0, 0.99))
def test_no_more_than_the_share_lies_above_and_the_next_score_is_too_low(values, rate):
    scores = torch.tensor(values, dtype=torch.float64)
    threshold = threshold_at(scores, rate)
    assert int((scores > threshold).sum()) <= rate * len(scores) * (1 + 1e-9)
    lower = scores[scores < threshold]
    if len(lower):
        assert int((scores > lower.max()).sum()) > rate * len(scores)


@pytest.mark.parametrize(
    ("scores", "rate", "words"),
    [
        (torch.zeros(3), 1.0, "false_positive_rate must be below 1"),
        (torch.zeros(3), -0.1, "false_positive_rate must be at least 0"),
        (torch.zeros(0), 0.1, "scores must be finite, one per image"),
        (torch.tensor([torch.nan]), 0.1, "scores must be finite"),
        (torch.zeros(3, 1), 0.1, r"scores must be finite, one per image, got \[3, 1\]"),
    ],
)
def test_thresholds_that_cannot_be(scores, rate, words):
    with pytest.raises(ValueError, match=words):
        threshold_at(scores, rate)


def setting(count=300, axes=2):
    torch.manual_seed(0)
    conv = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[axes]
    net = torch.nn.Sequential(conv(1, 5, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(5 * 4**axes, 2))
    images = torch.rand(count, 1, *[6] * axes, generator=torch.Generator().manual_seed(0))
    return Victim(net.eval()), images, torch.arange(count) % 2


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_the_false_positive_rate_is_kept_and_used_up(rate, axes):
    victim, images, labels = setting(axes=axes)
    detector = GaussianDetector.fit(
        victim, "0", images[:200], labels[:200], images[200:], false_positive_rate=rate, shrinkage=0.3
    )
    features = features_of(victim, images[200:], ("0",))
    assert int((detector.score(features) > detector.threshold).sum()) == round(100 * rate)
    above = excess(detector, features)
    assert int((above > 0).sum()) == round(100 * rate)
    # Its unit: from the median (-1) to the threshold (0).
    assert float(above.median()) == pytest.approx(-1, abs=1e-6)
    assert detector.gaussians == ClassGaussians.fit(features_of(victim, images[:200], ("0",))["0"], labels[:200], 0.3)


def test_unlike_images_are_detected():
    victim, images, labels = setting()
    detector = GaussianDetector.fit(victim, "0", images[:200], labels[:200], images[200:])
    strange = torch.stack([torch.zeros(1, 6, 6), torch.ones(1, 6, 6), torch.eye(6)[None]])
    assert bool((excess(detector, features_of(victim, strange, ("0",))) > 0).all())


def test_a_score_just_above_the_threshold_is_detected_in_float32():
    class Plain:
        layers, threshold, unit = ("0",), 1.0, 1e30

        def score(self, features):
            return features["0"][:, 0]

    scores = torch.tensor([[1.0], [1.0 + 1e-12], [1.0 - 1e-12]], dtype=torch.float64)
    assert (excess(Plain(), {"0": scores}) > 0).tolist() == [False, True, False]


def test_is_a_value():
    victim, images, labels = setting()
    one, same = (GaussianDetector.fit(victim, "0", images[:200], labels[:200], images[200:]) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)


def test_images_of_one_score_set_no_unit():
    victim, images, labels = setting()
    with pytest.raises(ValueError, match="held_out must hold images of different scores"):
        GaussianDetector.fit(victim, "0", images, labels, images[:1].expand(5, -1, -1, -1))
