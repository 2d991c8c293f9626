"""Models with a detector: sound ones fail no check, and a fault fails those that are there for it."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from medadv.attacks import APGD, PGD, BiasFieldAttack, FlowAttack
from medadv.data import ImageSet
from medadv.detectors import GaussianDetector, GuardedVictim
from medadv.models import Victim
from medadv.objectives import CrossEntropy, HierarchicalFeatureConstraint, Margin, Targeted, Undetected
from medadv.sweep.black_box import black_box, searched, transfers
from medadv.sweep.black_box_checks import no_black_box_stronger, planted_weakness
from medadv.sweep.curve import Curve, Surrogate
from medadv.sweep.evaluate import evaluate
from medadv.sweep.failure_indicators import failure_indicators, falling_margin, still_rising, unstable
from medadv.sweep.plan import Evaluation
from medadv.sweep.planted import DetectorAlone, PlantedVictim
from medadv.sweep.sample import Probe, Sample
from medadv.sweep.search_trace import _held, trace

JOINT = Undetected()


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class Faulty:
    """A detector whose score goes through a function of it and the detector's unit."""

    def __init__(self, detector, function):
        self.layers, self.threshold, self.unit = detector.layers, detector.threshold, detector.unit
        self._detector, self._function = detector, function

    def score(self, features):
        return self._function(self._detector.score(features), self.unit)


def sample_of(classes=3, task="multiclass", axes=2, dtype=torch.float64, fault=None, edge=None, count=24):
    """A small network of random weights and a detector of its last features; what it says of clean images is right."""
    torch.manual_seed(2)
    conv, size = (nn.Conv2d, (8, 8)) if axes == 2 else (nn.Conv3d, (5, 6, 6))
    flat = 4 * torch.Size([side - 2 for side in size]).numel()
    layers = [edge or nn.Identity(), conv(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(flat, 8), nn.Tanh()]
    victim = Victim(nn.Sequential(*layers, nn.Linear(8, classes)).to(dtype).eval(), task=task, mean=0.0, std=0.25)
    draw = torch.Generator().manual_seed(0)
    fitted_on, held_out, images = (torch.rand(n, 1, *size, generator=draw) for n in (200, 100, count))
    detector = GaussianDetector.fit(victim, "5", fitted_on, torch.arange(200) % 2, held_out)
    guarded = GuardedVictim(victim, detector if fault is None else Faulty(detector, fault))
    with torch.no_grad():
        targets, logits = victim.task.predict(victim(images)), guarded(images)
    return Sample(guarded, images, targets, torch.arange(count), logits, 0)


def probed(attack, sample):
    return Probe(attack, sample.attack(attack))


def three_checks(attack, sample):
    probe = probed(attack, sample)
    boxes = [black_box(probe, sample)]
    return probe, {
        "C6": no_black_box_stronger([probe], boxes, sample),
        "C16": planted_weakness([probe], boxes, sample),
        "C18": failure_indicators([probe], sample),
    }


def failed(found):
    return {name: each.sentence for name, each in found.items() if each.outcome != "passed"}


# Sound models

SAMPLES = {
    "two logits": {"classes": 2, "task": "binary"},
    "one logit": {"classes": 1, "task": "binary"},
    "three classes": {},
    "labels": {"task": "multilabel"},
    "one label": {"classes": 1, "task": "multilabel"},
    "volumes": {"axes": 3},
    "bfloat16": {"dtype": torch.bfloat16},
}
MAIN = PGD(0.03, objective=JOINT)
OTHERS = [
    APGD(0.03, steps=20, objective=JOINT),
    PGD(0.2, "l2", objective=Undetected(CrossEntropy())),
    PGD(0.5, "l1", steps=40, objective=JOINT),
    # Of so few parameters one search in three gets stuck.
    BiasFieldAttack(1.1, spacing=4, restarts=3, objective=JOINT),
    FlowAttack(0.1, objective=JOINT),
]


@pytest.mark.parametrize(
    ("attack", "kind"),
    [*((MAIN, kind) for kind in SAMPLES), *((attack, "three classes") for attack in OTHERS)],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:24],
)
def test_a_sound_model_fails_nothing(attack, kind):
    sample = sample_of(**SAMPLES[kind])
    probe, found = three_checks(attack, sample)
    assert len(probe.survivors) > 0
    assert failed(found) == {}
    planted = found["C16"].sentence
    assert f"the detector alone: where {black_box(probe, sample).title} with 100 queries shows a weakness" in planted
    assert "in 24 of 24 images, the attack finds it in" in planted  # the detector is tried on the whole sample


# Faults


def rounded(score, unit):
    return (4 * score / unit).round() / 4 * unit


FAULTS = {
    "rounded": rounded,
    "detached": lambda score, unit: score.detach(),
    "reversed": lambda score, unit: Reversed.apply(score),
    "waves": lambda score, unit: score + 0.5 * unit * torch.sin(1e5 * score),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_detector_is_found(fault):
    sample = sample_of(fault=FAULTS[fault])
    _, found = three_checks(PGD(0.1, objective=JOINT), sample)
    assert {"C16", "C18"} <= set(failed(found))
    told = {
        "rounded": "had no gradient",
        "detached": "had no gradient",
        "reversed": "ended further from a wrong answer",
        "waves": "move by a tenth of their margin, or of their detector's score,",
    }
    (part,) = [part for part in found["C18"].sentence.split(", ") if told[fault].split(",")[0] in part]
    assert int(part.split()[0]) > 1
    both, alone = (missed(part) for part in found["C16"].sentence.split("the detector alone: "))
    assert alone > 1
    if fault == "detached":
        assert both > 1


def missed(part):
    """Of the weaknesses that were planted, how many the attack did not find."""
    planted, seen = re.search(r"weakness to plant, in (\d+) of \d+ images, the attack finds it in (\d+)", part).groups()
    return int(planted) - int(seen)


@pytest.mark.parametrize(
    "edge", [lambda images: (images * 16).round() / 16, Reversed.apply], ids=["rounded", "reversed"]
)
def test_a_fault_of_the_network_is_found(edge):
    _, found = three_checks(MAIN, sample_of(edge=Wrapped(edge)))
    assert (
        set(failed(found)) == {"C6", "C16", "C18"} if edge is Reversed.apply else {"C16", "C18"} <= set(failed(found))
    )


def test_a_classifier_without_a_gradient_is_found_beside_a_sound_detector():
    """The features are whole, and so is the detector; what the classifier makes of them is rounded."""
    sample = sample_of()
    module = sample.victim.module
    module.insert(6, Wrapped(lambda features: (features * 4).round() / 4))
    with torch.no_grad():
        logits = sample.victim(sample.images)
        sample = replace(sample, logits=logits, targets=logits[:, :-1].argmax(dim=1))
    _, found = three_checks(PGD(0.05, objective=JOINT), sample)
    assert {"C16", "C18"} <= set(failed(found))
    assert found["C16"].sentence.endswith("in 24 of 24 images, the attack finds it in 24.")


def test_an_attack_that_does_not_move_is_found():
    lame = PGD(0.1, step_size=1e-6, random_start=False, objective=JOINT)
    _, found = three_checks(lame, sample_of())
    assert {"C6", "C16", "C18"} == set(failed(found))
    assert found["C16"].sentence.count("the attack finds it in 0") == 2


# Whole evaluations


def outcomes(sample, folder, *curves):
    names = tuple(map(str, range(len(sample))))
    data = ImageSet(sample.images.numpy(), sample.targets.numpy(), names, ("a", "b", "c"))
    store = evaluate(Evaluation(sample.victim, "x", data, "y", curves, seed=1), folder / "out")
    table = store.query('SELECT "check", outcome FROM rows', kind="check")
    return {name: outcome for name, outcome in zip(*table.values(), strict=True) if outcome != "passed"}


CURVES = (
    Curve(PGD(objective=JOINT), (0.01, 0.03, 0.1, 0.3)),
    Curve(BiasFieldAttack(spacing=4, restarts=3, objective=JOINT), (1.1, 1.3, 2.0)),
)


def test_all_checks_of_a_sound_model(tmp_path):
    assert outcomes(sample_of(count=32), tmp_path, *CURVES) == {}


EXPECTED = {
    "rounded": {"C3", "C6", "C15", "C16", "C17", "C18"},
    "detached": {"C3", "C15", "C16", "C17", "C18"},
    "reversed": {"C15", "C16", "C17", "C18"},
}


@pytest.mark.parametrize("fault", EXPECTED)
def test_exactly_these_checks_fail(tmp_path, fault):
    found = outcomes(sample_of(fault=FAULTS[fault], count=32), tmp_path, CURVES[0])
    assert found == dict.fromkeys(EXPECTED[fault], "failed")


# The parts


def test_the_planted_thresholds_are_where_classifier_and_detector_turn():
    sample = sample_of(task="multilabel")
    thresholds, alarms = torch.linspace(-1, 1, 24), torch.linspace(1, -1, 24)
    planted = PlantedVictim(sample.victim, sample.targets, thresholds, alarms)
    with torch.no_grad():
        logits = planted(sample.images)
    before, after = (Margin()(values[:, :-1], sample.targets) for values in (sample.logits, logits))
    torch.testing.assert_close(after, before - thresholds)
    torch.testing.assert_close(logits[:, -1], sample.logits[:, -1] - alarms)
    fooled = (before > thresholds) & (sample.logits[:, -1] <= alarms)
    assert 0 < int(fooled.sum()) < 24
    assert torch.equal(planted.correct(logits, sample.targets), ~fooled)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_beside_the_detector_alone_every_answer_is_wrong_and_nothing_passes(task):
    sample = sample_of(task=task)
    targets = torch.zeros_like(sample.targets)
    victim = DetectorAlone(sample.victim, DetectorAlone.wrong_answer(targets, 3))
    with torch.no_grad():
        logits = victim(sample.images)
    assert torch.equal(logits[:, -1], sample.logits[:, -1])
    assert not victim.task.task.verdict(logits[:, :-1], targets)[1].any()
    assert victim.correct(logits, targets).all()
    assert torch.equal(JOINT(logits, targets), -sample.logits[:, -1])
    alone = replace(sample, victim=victim, targets=targets, logits=logits)
    box = searched(PGD(0.05, "l1"), alone, torch.arange(24))
    assert set(box.result.forwards.tolist()) == {100}
    with torch.no_grad():
        excess = sample.victim(box.result.images)[:, -1]
    torch.testing.assert_close(excess, -box.result.loss)
    assert (excess < sample.logits[:, -1]).all()


def test_a_goal_plays_no_part_for_the_detector_alone():
    sample = sample_of()
    attack = PGD(0.03, objective=Undetected(Targeted(2, Margin())))
    probe = probed(MAIN, sample)
    finding = planted_weakness([Probe(attack, probe.result)], [black_box(probe, sample)], sample)
    assert finding.sentence.endswith("in 24 of 24 images, the attack finds it in 24.")


def test_the_way_of_an_attack_in_its_two_stages():
    sample = sample_of()
    attack = PGD(0.1, steps=12, objective=JOINT)
    rows = probed(attack, sample).survivors
    way = trace(attack, sample, rows)
    classes, detector = way.stages
    assert classes.shape == detector.shape == way.margins.shape == (13, len(rows))
    crossed = classes == 0
    assert crossed.any()
    assert torch.equal(way.margins[~crossed], classes[~crossed])
    assert torch.equal(way.margins[crossed], detector[crossed])
    assert (way.margins <= 0).all()
    assert torch.equal(detector[:, ~crossed.any(dim=0)], torch.zeros(13, int((~crossed.any(dim=0)).sum())))


def test_the_last_known_value_is_held():
    values = torch.tensor([[1.0, 5.0, 9.0], [2.0, 6.0, 9.0], [3.0, 7.0, 9.0], [4.0, 8.0, 9.0]])
    known = torch.tensor([[False, True, False], [True, False, False], [False, True, False], [True, False, False]])
    assert _held(values, known).T.tolist() == [[2.0, 2.0, 2.0, 4.0], [5.0, 5.0, 7.0, 7.0], [0.0] * 4]


def test_each_stage_can_fall_or_rise_to_the_end():
    steps = torch.linspace(0, 1, 9)
    still = torch.zeros(9)
    first, second = torch.stack([steps, -steps, still, still], 1), torch.stack([still, still, steps, -steps], 1)
    way = type("Way", (), {"margins": first, "stages": (first, second)})
    assert still_rising(way).tolist() == [True, False, True, False]
    assert falling_margin(way).tolist() == [False, True, False, True]


def test_scores_that_jump_are_told_from_those_that_do_not():
    """Every image whose clean score is below the median is scored by waves."""
    sound = sample_of()
    middle = float(sound.logits[:, -1].median())

    def half_wild(score, unit):
        clean = score.detach() < low
        return torch.where(clean, score + 0.5 * unit * torch.sin(1e7 * score), score)

    low = sound.victim.detector.threshold + sound.victim.detector.unit * middle
    sample = sample_of(fault=half_wild)
    found = unstable(Probe(PGD(0.001), None), sample, torch.arange(24))
    assert found.sum() > 8
    assert not unstable(Probe(PGD(0.001), None), sound, torch.arange(24)).any()
    assert not found[sound.logits[:, -1] > middle + 0.05].any()


def test_a_search_without_gradients_knows_of_the_detector():
    """What it holds for the best is what comes nearest to a wrong answer that passes, and is no larger a score."""
    for task in ("multiclass", "multilabel"):
        sample = sample_of(task=task)
        attack = PGD(2.0, "l1", objective=JOINT)
        box = searched(attack, sample, torch.arange(24))
        assert box.title == "a random search"
        with torch.no_grad():
            logits = sample.victim(box.result.images)
        torch.testing.assert_close(box.result.loss, JOINT(logits, sample.targets))
        assert (box.result.loss >= JOINT(sample.logits, sample.targets)).sum() > 20


# Surrogates and objectives


def test_the_attack_itself_is_made_on_a_surrogate_without_a_detector():
    sample = sample_of()
    probe = probed(MAIN, sample)
    plain = Victim(sample.victim.module, mean=0.0, std=0.25)
    other = Curve(BiasFieldAttack(1.1, spacing=4), (1.1,), "transfer-bias-field", Surrogate(plain, "tests:plain"))
    (box,) = transfers(probe, [other], sample)
    expected = PGD(0.03, objective=Margin(), stop_early=False)(plain, *given_to(sample, box.rows))
    assert torch.equal(box.result.images, expected.images)
    guarded = Curve(other.attack, (1.1,), "transfer-bias-field", Surrogate(sample.victim, "tests:guarded"))
    (box,) = transfers(probe, [guarded], sample)
    assert (box.result.images != sample.images[box.rows]).any()


def given_to(sample, rows):
    return sample.images[rows], sample.targets[rows], sample.ids[rows]


def test_an_objective_that_looks_at_features_can_be_followed():
    sample = sample_of()
    plain = Victim(sample.victim.module, mean=0.0, std=0.25)
    hidden = HierarchicalFeatureConstraint.fit(plain, ["5"], sample.images, torch.arange(24) % 3, Margin(), weight=0.01)
    for victim, objective in ((plain, hidden), (sample.victim, Undetected(hidden))):
        with torch.no_grad():
            each = replace(sample, victim=victim, logits=victim(sample.images))
        attack = PGD(0.005, steps=6, objective=objective)
        rows = probed(attack, each).survivors
        assert torch.equal(trace(attack, each, rows).result.images, each.attack(attack).images[rows])
