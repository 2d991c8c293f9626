"""C17: the gradient along a path adds up to the change of the margin, if it is whole."""

import pytest
import torch
from torch import nn

from medadv.attacks import PGD, BiasFieldAttack
from medadv.models import Victim
from medadv.sweep.gradient_checks import _accounts, _followed, _of_the_judge, whole_defence
from medadv.sweep.sample import Probe, Sample


class Quadratic(nn.Module):
    """Two logits; their difference is a quadratic function of the image, whose gradient is a linear one."""

    def __init__(self, seen=lambda images: images):
        super().__init__()
        self.seen = seen
        self.weight = nn.Parameter(torch.randn(36, generator=torch.Generator().manual_seed(1), dtype=torch.float64))

    def forward(self, images):
        images = self.seen(images).flatten(1)
        value = 3 + images @ self.weight + (images - 0.5).square().sum(dim=1)
        return torch.stack([value, torch.zeros_like(value)], dim=1)


def sample_of(module, count=12, **options):
    victim = Victim(module.eval(), **options)
    images = 0.1 + 0.8 * torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    logits = victim(images).detach()
    return Sample(victim, images, logits.argmax(dim=1), torch.arange(count), logits, 0)


@pytest.mark.parametrize("intervals", [1, 2, 8])
def test_the_trapezoidal_rule_is_exact_for_a_linear_gradient(intervals):
    sample = sample_of(Quadratic())
    end = sample.images.flip(0)
    actual, predicted = _followed(sample, end, intervals, _of_the_judge)
    torch.testing.assert_close(predicted, actual, rtol=1e-5, atol=1e-5)
    assert float(actual.abs().min()) > 1e-3


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (lambda images: images, "0.0 %"),
        (lambda images: (images + images.detach()) / 2, "50.0 %"),
        (lambda images: 0.8 * images + 0.2 * images.detach(), "20.0 %"),
        (lambda images: images.detach() + 0 * images, "100.0 %"),
        (lambda images: images.detach(), "100.0 %"),
        (lambda images: 2 * images.detach() - images, "200.0 %"),
    ],
)
def test_what_is_hidden_is_what_is_left(seen, told):
    sample = sample_of(Quadratic(seen))
    for attack in (PGD(0.1), BiasFieldAttack(1.3, spacing=4)):
        finding = whole_defence([Probe(attack, None)], sample)
        assert f"the gradient leaves {told} (median)" in finding.sentence
        assert finding.outcome == ("passed" if told in ("0.0 %", "20.0 %") else "failed")


def test_a_rough_but_honest_model_passes_after_a_second_look():
    """Waves that two intervals cannot follow, and eight can."""
    sample = sample_of(Quadratic(lambda images: images + 0.06 * torch.sin(100 * images)))
    first, second = _accounts(Probe(PGD(0.1), None), sample, _of_the_judge)
    assert (first.images, first.exceptions, first.good, first.last) == (12, 12, False, False)
    assert (second.images, second.exceptions, second.good, second.last) == (12, 0, True, True)
    assert whole_defence([Probe(PGD(0.1), None)], sample).outcome == "passed"


def test_what_hides_the_gradient_is_named():
    rounded = whole_defence([Probe(PGD(0.2), None)], sample_of(Quadratic(lambda images: (images * 8).round() / 8)))
    assert rounded.sentence.endswith(". While the model answers, it rounds or chooses (round).")
    torch.manual_seed(0)
    noisy = whole_defence([Probe(PGD(0.1), None)], sample_of(Quadratic(lambda x: x + 0.1 * torch.randn_like(x))))
    assert noisy.sentence.endswith(". While the model answers, it draws random numbers (randn_like).")


def test_a_model_that_does_not_move_is_not_judged():
    finding = whole_defence([Probe(PGD(0.1), None)], sample_of(Quadratic(lambda images: 0.5 + 0 * images)))
    assert finding.outcome == "not run"
    assert finding.sentence == "pgd at 0.1: random changes move the answer by no more than rounding."


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1024.0, 3071.0)])
def test_other_numbers_and_ranges(dtype, bounds):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)).to(dtype)
    low, high = bounds
    plain = sample_of(net, bounds=bounds, mean=low, std=high - low)
    images = low + (high - low) * plain.images
    logits = plain.victim(images).detach()
    sample = Sample(plain.victim, images, logits.argmax(dim=1), plain.ids, logits, 0)
    # A hundred units of the last place of bfloat16 are as much as random changes do to this model.
    assert whole_defence([Probe(PGD(0.2), None)], sample).outcome == ("passed" if dtype == torch.float32 else "not run")
