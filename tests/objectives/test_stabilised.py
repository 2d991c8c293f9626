import math

import pytest
import torch

from medadv.objectives import CrossEntropy, Gaussian, Margin, Situation, Stabilised, Targeted

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]])
OTHER = torch.tensor([[1.0, 0.5, -1.0], [0.5, 1.0, 0.0]])
TARGETS = torch.tensor([0, 1])


def images(seed):
    return torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(seed))


def situation(asked=None, answer=OTHER, before=None, clean_logits=LOGITS):
    def ask(smoothed):
        if asked is not None:
            asked.append(smoothed)
        return answer

    return Situation(images(0), images(1), before, clean_logits, 0, ask)


def test_the_divergence_is_that_of_the_probabilities():
    p, q = LOGITS.double().softmax(1), OTHER.double().softmax(1)
    expected = CrossEntropy()(LOGITS, TARGETS) - 0.5 * (p * (p / q).log()).sum(1).float()
    torch.testing.assert_close(Stabilised(weight=0.5).at(LOGITS, TARGETS, situation()), expected)


def test_the_divergence_of_labels_that_are_each_there_or_not():
    targets = torch.tensor([[1, 0, 1], [0, 0, 1]])
    p, q = LOGITS.double().sigmoid(), OTHER.double().sigmoid()
    divergence = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1).float()
    expected = Margin()(LOGITS, targets) - 2 * divergence
    torch.testing.assert_close(Stabilised(Margin(), 2.0).at(LOGITS, targets, situation()), expected)


def test_equal_answers_cost_nothing_and_others_do():
    found = Stabilised().at(LOGITS, TARGETS, situation())
    plain = CrossEntropy()(LOGITS, TARGETS)
    assert found[0] < plain[0]
    torch.testing.assert_close(found[1], plain[1])


def test_the_gradient_goes_to_the_answer_to_the_image_alone():
    logits, other = LOGITS.clone().requires_grad_(), OTHER.clone()
    value = Stabilised(weight=3.0).at(logits, TARGETS, situation(answer=other))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    p, divergence = LOGITS.softmax(1), LOGITS.log_softmax(1) - OTHER.log_softmax(1)
    pull = p * (divergence - (p * divergence).sum(1, keepdim=True))
    expected = p - torch.nn.functional.one_hot(TARGETS, 3) - 3.0 * pull
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("target", ["delta", "input", "step"])
def test_what_is_smoothed(target):
    asked, before = [], images(2)
    Stabilised(target=target).at(LOGITS, TARGETS, situation(asked, before=before))
    smooth = Gaussian()
    clean, now = images(0), images(1)
    expected = {
        "delta": clean + smooth(now - clean),
        "input": smooth(now),
        "step": before + smooth(now - before),
    }[target]
    assert len(asked) == 1
    torch.testing.assert_close(asked[0], expected)


def test_no_step_no_term():
    asked = []
    found = Stabilised(target="step").at(LOGITS, TARGETS, situation(asked))
    assert torch.equal(found, CrossEntropy()(LOGITS, TARGETS))
    assert not asked


@pytest.mark.parametrize("target", ["delta", "input", "step"])
def test_weight_zero_asks_nothing(target):
    asked = []
    found = Stabilised(Margin(), 0.0, target=target).at(LOGITS, TARGETS, situation(asked, before=images(2)))
    assert torch.equal(found, Margin()(LOGITS, TARGETS))
    assert not asked


def test_wraps_an_objective_that_is_situated_itself():
    both = Stabilised(Targeted("least likely"), weight=0.5)
    assert both.goals(LOGITS, TARGETS).tolist() == [2, 2]
    plain = Targeted("least likely").at(OTHER, TARGETS, situation())
    assert torch.equal(both.at(OTHER, TARGETS, situation()), plain)
    assert Stabilised(CrossEntropy()).goals(LOGITS, TARGETS) is None


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_the_filter_has_its_size_and_sums_to_one(size, sigma):
    spike = torch.zeros(1, 1, 11, 11)
    spike[0, 0, 5, 5] = 1.0
    found = Gaussian(size, sigma)(spike)[0, 0]
    weights = torch.tensor([math.exp(-((k / sigma) ** 2) / 2) for k in range(-(size // 2), size // 2 + 1)])
    weights = weights / weights.sum()
    first = 5 - size // 2
    torch.testing.assert_close(found[first : first + size, first : first + size], torch.outer(weights, weights))
    assert float(found.sum()) == pytest.approx(1, abs=1e-6)
    assert bool((found[:first] == 0).all())


def test_channels_stay_apart_and_volumes_work():
    colour = torch.zeros(1, 3, 6, 6)
    colour[:, 1] = torch.rand(6, 6)
    found = Gaussian()(colour)
    assert bool((found[:, [0, 2]] == 0).all())
    assert Gaussian()(torch.rand(2, 1, 4, 5, 6)).shape == (2, 1, 4, 5, 6)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Stabilised(weight=-1), ValueError, "weight must be at least 0"),
        (lambda: Stabilised(target="image"), ValueError, "target must be one of delta, input, step"),
        (lambda: Gaussian(4), ValueError, "size must be odd, got 4"),
        (lambda: Gaussian(1), ValueError, "size must be at least 3"),
        (lambda: Gaussian(3, 0), ValueError, "sigma must be above 0"),
    ],
)
def test_wrong_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()
