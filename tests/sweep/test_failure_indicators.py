"""C18: what the way of an attack says about its failure."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from medadv.attacks import APGD, DIFGSM, PGD, SINIFGSM, VMIFGSM, BiasFieldAttack, StabilisedMedicalAttack
from medadv.models import Victim
from medadv.objectives import Margin
from medadv.sweep.curve import Curve, Surrogate
from medadv.sweep.failure_indicators import (
    break_point_angle,
    failure_indicators,
    falling_margin,
    silent_success,
    still_rising,
    unstable,
    zero_gradients,
)
from medadv.sweep.sample import Probe, Sample
from medadv.sweep.search_trace import trace
from medadv.sweep.transfer import Transfer, transfer_of


def way(*margins, gradients=None, success=None):
    """Margins of one image after the other."""
    columns = torch.tensor(margins).T
    success = torch.tensor([False] * len(margins) if success is None else success)
    result = SimpleNamespace(success=success)
    return SimpleNamespace(margins=columns, stages=(columns,), gradients=gradients, result=result)


# Indicators


def test_an_image_that_was_wrong_on_the_way_must_be_a_success():
    ways = way([-1.0, 0.5, -0.5], [-1.0, -0.5, 0.5], [-1.0, -0.5, 0.0], success=[False, True, False])
    assert silent_success(ways).tolist() == [True, False, False]


def test_a_tenth_of_the_gradients_may_be_zero():
    gradients = torch.ones(20, 3)
    gradients[:2, 1] = 0.0
    gradients[:3, 2] = 0.0
    assert zero_gradients(way([0.0], [0.0], [0.0], gradients=gradients)).tolist() == [False, False, True]


def test_a_margin_that_ends_below_its_start_is_falling():
    assert falling_margin(way([-2.0, -1.0, -3.0], [-2.0, -3.0, -1.0], [-2.0, -2.0, -2.0])).tolist() == [
        True,
        False,
        False,
    ]


def test_still_rising():
    line = [0.0, 0.25, 0.5, 0.75, 1.0]
    corner = [0.0, 1.0, 1.0, 1.0, 1.0]
    bent = [0.0, 0.5, 0.9, 0.95, 1.0]
    faster = [0.0, 0.1, 0.2, 0.5, 1.0]
    flat = [0.5] * 5
    down = [1.0, 0.75, 0.5, 0.25, 0.0]
    nearly = [0.0, 0.26, 0.51, 0.76, 1.0]
    ways = way(line, corner, bent, faster, flat, down, nearly)
    assert still_rising(ways).tolist() == [True, False, False, True, False, False, True]
    assert still_rising(way([0.0, 0.5, 1.0, 1.5])).tolist() == [False]  # three steps show nothing
    # Units, and what is not above the best so far, play no part.
    assert still_rising(way([1000 * value - 7 for value in line])).tolist() == [True]
    assert still_rising(way([0.0, 1.0, 0.2, 0.4, 1.0])).tolist() == [False]


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_angle_is_that_between_both_sides(x, y):
    """Against the cosine of the two sides, for a curve of two straight lines."""
    points = 101
    x = max(round(x * 100), 1) / 100
    places = torch.linspace(0, 1, points, dtype=torch.float64)
    heights = torch.where(places <= x, places * y / x, y + (places - x) * (1 - y) / (1 - x))
    (angle,) = break_point_angle(heights.unsqueeze(1)).tolist()
    if y <= x:
        assert angle == pytest.approx(math.pi, abs=1e-6)
        return
    cosine = -(x * (1 - x) + y * (1 - y)) / (math.hypot(x, y) * math.hypot(1 - x, 1 - y))
    assert angle == pytest.approx(math.acos(max(cosine, -1.0)), abs=1e-5)
    assert math.pi / 2 <= angle <= math.pi


# The trace


def sample_of(count=12, edge=None):
    torch.manual_seed(0)
    net = nn.Sequential(edge or nn.Identity(), nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3))
    victim = Victim(net.double().eval())
    images = torch.rand(count, 1, 8, 8)
    with torch.no_grad():
        logits = victim(images)
    return Sample(victim, images, logits.argmax(dim=1), torch.arange(count), logits, 0)


ATTACKS = [
    PGD(0.01, steps=6),
    PGD(0.01, steps=6, restarts=3),
    APGD(0.01, steps=6),
    BiasFieldAttack(1.05, spacing=4, steps=6),
    DIFGSM(0.01, steps=6),
    SINIFGSM(0.01, steps=6),
    VMIFGSM(0.01, steps=6),
    StabilisedMedicalAttack(0.01, steps=6),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.name} {attack.restarts}")
def test_the_trace_is_the_way_of_the_attack(attack):
    sample = sample_of()
    plain = sample.attack(attack)
    rows = plain.robust.nonzero().flatten()
    assert len(rows) > 0
    seen = trace(attack, sample, rows)
    assert seen.margins.shape == (attack.steps + 1, len(rows))
    assert seen.gradients.shape[1] == len(rows)
    assert len(seen.gradients) >= attack.steps
    assert not seen.result.success.any()
    if attack.restarts == 1:
        for name in ("images", "loss", "predictions", "forwards", "backwards"):
            assert torch.equal(getattr(seen.result, name), getattr(plain, name)[rows]), name
    # The image that the attack gives back is one of those on the way.
    last = Margin()(sample.victim(seen.result.images), sample.targets[rows])
    assert bool(torch.isclose(seen.margins, last.float(), atol=1e-6).any(dim=0).all())


def test_margins_and_gradients_are_right_at_the_start():
    sample = sample_of()
    rows = torch.tensor([1, 4, 7])
    attack = PGD(0.01, steps=4, random_start=False)
    seen = trace(attack, sample, rows)
    images = sample.images[rows].requires_grad_()
    value = attack.objective(sample.victim(images), sample.targets[rows])
    (gradient,) = torch.autograd.grad(value.sum(), images)
    torch.testing.assert_close(seen.margins[0], Margin()(sample.logits[rows], sample.targets[rows]))
    torch.testing.assert_close(seen.gradients[0], gradient.abs().flatten(1).amax(dim=1))


# The check


def test_a_sound_attack_fails_loudly():
    sample = sample_of()
    attack = PGD(0.01, steps=20)
    finding = failure_indicators([Probe(attack, sample.attack(attack))], sample)
    assert finding.outcome == "passed"
    assert finding.sentence.startswith("pgd at 0.01: of the ")


def test_nothing_withstands():
    sample = sample_of()
    attack = PGD(0.8)
    finding = failure_indicators([Probe(attack, sample.attack(attack))], sample)
    assert finding.outcome == "passed"
    assert finding.sentence == (
        "pgd at 0.8: no image withstands. No surrogate was named, so that it was not asked whether attacks transfer."
    )


# Attacks on other models


def test_what_fools_the_other_model_alone_is_counted():
    sample, other = sample_of(), sample_of(edge=nn.AvgPool2d(3, 1, 1))
    curve = Curve(PGD(steps=10), (0.01, 0.2), "transfer-pgd", Surrogate(other.victim, "tests:other"))
    # Only what the other model gets right is attacked on it.
    rows = other.victim.correct(other.victim(sample.images), sample.targets)
    assert rows.sum() > 0
    found = PGD(0.2, steps=10)(other.victim, sample.images, sample.targets, sample.ids)
    with torch.no_grad():
        right = sample.victim(found.images).argmax(dim=1) == sample.targets
    made = transfer_of(curve, 1, sample)
    assert made == Transfer("pgd at 0.2", "tests:other", int(found.success.sum()), int((found.success & right).sum()))
    assert made.fooled > 0
    same = Curve(PGD(steps=10), (0.01, 0.2), "transfer-pgd", Surrogate(sample.victim, "tests:same"))
    assert transfer_of(same, 1, sample).lost == 0


@pytest.mark.parametrize(("lost", "alone", "outcome"), [(5, False, "passed"), (5, True, "failed"), (0, True, "passed")])
def test_what_does_not_transfer_is_a_silent_failure_where_nothing_else_was_tried(lost, alone, outcome):
    sample = sample_of()
    finding = failure_indicators([], sample, [Transfer("pgd at 0.1", "tests:other", 9, lost)], alone)
    assert finding.outcome == outcome
    assert finding.sentence == f"pgd at 0.1 made on tests:other: {lost} of the 9 images that fool it do not transfer."


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


@pytest.mark.parametrize(
    ("edge", "told"),
    [
        (lambda x: (x * 64).round() / 64, "had no gradient"),
        (lambda x: 2 * x.detach() - x, "ended further from a wrong answer"),
        (lambda x: x + 0.1 * torch.sin(1e5 * x), "move by a tenth of their margin"),
    ],
)
def test_every_fault_has_its_indicator(edge, told):
    sample = sample_of(edge=Wrapped(edge))
    attack = PGD(0.02, steps=8, random_start=False)
    finding = failure_indicators([Probe(attack, sample.attack(attack))], sample)
    assert finding.outcome == "failed"
    (part,) = [part for part in finding.sentence.split(", ") if told in part]
    assert int(part.split()[0]) > 1


def test_steps_that_are_too_short_are_still_rising():
    sample = sample_of()
    attack = PGD(0.1, steps=10, step_size=1e-3, random_start=False)
    finding = failure_indicators([Probe(attack, sample.attack(attack))], sample)
    assert finding.outcome == "failed"
    assert "12 still came nearer as fast as ever" in finding.sentence


def test_unstable_answers_are_told_from_stable_ones():
    """Every second image is answered by a wave that no hundredth of a budget leaves where it is."""
    sample = sample_of(edge=Wrapped(lambda x: x + (x[:, :, :1, :1] > 0.5) * torch.sin(1e5 * x)))
    wild = sample.images[:, 0, 0, 0] > 0.5
    assert 0 < int(wild.sum()) < len(sample)
    found = unstable(Probe(PGD(0.05), None), sample, torch.arange(len(sample)))
    assert torch.equal(found, wild)
