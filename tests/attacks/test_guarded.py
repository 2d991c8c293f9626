"""Attacks on a classifier and a detector together."""

import pytest
import torch
from torch import nn

from medadv.attacks import (
    APGD,
    DDN,
    FAB,
    PGD,
    BiasFieldAttack,
    DeepFool,
    Ensemble,
    HopSkipJump,
    RandomNoise,
    Square,
    Status,
    budget_curve,
    transfer,
)
from medadv.detectors import GaussianDetector, GuardedVictim
from medadv.models import Victim
from medadv.objectives import CrossEntropy, HierarchicalFeatureConstraint, Margin, Stabilised, Targeted, Undetected

FIELDS = ("images", "status", "predictions", "forwards", "backwards", "step", "distance", "loss")
WIDTH = 6


class TwoHalves(nn.Module):
    """The mean over all voxels decides the class, lowest grey value -1, highest 1; parts tell those of the halves."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Flatten(), nn.Flatten()

    def forward(self, images):
        left, right = ((2 * part.double() - 1).flatten(1).mean(1, keepdim=True) for part in images.chunk(2, dim=-1))
        score = self.left(left) + self.right(right)
        return torch.cat([-score, score], 1)


def clean_images(count, seed, axes=2, channels=1):
    """The left half is nearly the same in all; the right half is dark or bright, and gives the class."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = 0.5 + 0.005 * torch.randn(count, channels, *[WIDTH] * axes, generator=draw)
    per_image = (-1, *[1] * (axes + 1))
    shift = (0.08 + 0.04 * torch.rand(count, generator=draw)) * (2 * labels - 1)
    images[..., WIDTH // 2 :] += shift.reshape(per_image)
    images[..., : WIDTH // 2] += 0.01 * torch.randn(count, generator=draw).reshape(per_image)
    return images.clamp(0, 1), labels


def guarded_victim(axes=2, channels=1, bounds=(0.0, 1.0)):
    """The detector knows the left half."""
    low, high = bounds
    victim = Victim(TwoHalves().eval(), bounds=bounds, mean=low, std=high - low)
    scaled = [(low + (high - low) * clean_images(200, seed, axes, channels)[0]) for seed in (0, 1)]
    detector = GaussianDetector.fit(victim, "left", scaled[0], torch.arange(200) % 2, scaled[1])
    return victim, GuardedVictim(victim, detector)


def setting(count=40, axes=2, channels=1, bounds=(0.0, 1.0)):
    victim, guarded = guarded_victim(axes, channels, bounds)
    low, high = bounds
    x, y = clean_images(count, 2, axes, channels)
    x = (low + (high - low) * x).clamp(low, high)
    with torch.no_grad():
        kept = ~guarded.rejected(guarded(x))
    return victim, guarded, x[kept], y[kept]


JOINT = Undetected()


@pytest.mark.parametrize(("axes", "channels", "bounds"), [(2, 1, (0.0, 1.0)), (3, 3, (-1024.0, 3071.0))])
@pytest.mark.parametrize("kind", [PGD, APGD])
def test_fools_the_classifier_without_waking_the_detector(axes, channels, bounds, kind):
    # The right half is enough to change the class, at twice the change; the left half betrays the attack.
    victim, guarded, x, y = setting(40, axes, channels, bounds)
    for stop_early in (True, False):
        blind = transfer(kind(0.2, steps=40, stop_early=stop_early, objective=Margin()), victim, guarded, x, y)
        assert blind.robust_accuracy == 1 if not stop_early else blind.robust_accuracy > 0.85
        assert bool((blind.predictions == guarded.rejection).any())
    result = kind(0.2, steps=40, objective=JOINT)(guarded, x, y)
    assert result.success.all()
    logits = guarded(result.images)
    assert bool((logits[:, :2].argmax(1) != y).all())
    assert not bool(guarded.rejected(logits).any())
    assert torch.equal(result.predictions, 1 - y)
    assert bool((result.loss > 0).all())
    change = (result.images.double() - x.double()) / (bounds[1] - bounds[0])
    assert float(change.abs().max()) <= 0.2
    left, right = (part.flatten(1).mean(1).abs() for part in change.chunk(2, dim=-1))
    assert bool((left < 0.04).all())
    assert bool((right > 0.04).all())


def test_the_classifier_alone_is_fooled_and_detected():
    victim, guarded, x, y = setting()
    assert PGD(0.3, objective=Margin())(victim, x, y).success.all()
    found = transfer(PGD(0.3, objective=Margin(), stop_early=False), victim, guarded, x, y)
    assert bool((found.predictions == guarded.rejection).all())
    assert bool((found.status == Status.FAILED).all())
    assert bool((found.loss < 0).all())


def test_a_detected_image_is_withstood_and_a_wrong_one_that_passes_is_already_wrong():
    _, guarded, x, y = setting(8)
    strange = x.clone()
    strange[:, :, :, : WIDTH // 2] += 0.05
    images, targets = torch.cat([strange, x]), torch.cat([1 - y, 1 - y])
    result = PGD(0.0, objective=JOINT)(guarded, images, targets)
    assert bool((result.status[:8] == Status.FAILED).all())
    assert bool((result.predictions[:8] == guarded.rejection).all())
    assert bool((result.status[8:] == Status.ALREADY_WRONG).all())
    # With a budget the alarm can be silenced.
    assert PGD(0.2, steps=40, objective=JOINT)(guarded, images[:8], targets[:8]).success.all()


@pytest.mark.parametrize(
    "attack",
    [
        PGD(0.12, steps=8, objective=JOINT),
        PGD(0.7, "l2", steps=8, restarts=2, objective=JOINT),
        APGD(0.12, steps=8, objective=Undetected(CrossEntropy())),
        BiasFieldAttack(1.4, steps=8, spacing=3, objective=JOINT),
        Square(0.15, queries=20),
        RandomNoise(0.5, draws=3),
    ],
)
def test_results_do_not_depend_on_batch_size_or_order(attack):
    _, guarded, x, y = setting()
    whole = attack(guarded, x, y)
    with torch.no_grad():
        logits = guarded(whole.images)
    assert torch.equal(whole.success, (logits[:, :2].argmax(1) != y) & (logits[:, 2] <= 0))
    rows_of = torch.arange(len(x))
    for rows in (*rows_of.split(7), *rows_of.split(1)[:3], rows_of.flip(0)):
        part = attack(guarded, x[rows], y[rows], rows)
        for field in FIELDS:
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


def test_passes_are_counted_once_for_both(lab):
    _, guarded, x, y = setting(20)
    counting = lab.Counting(guarded.module).eval()
    guarded.module = counting
    guarded.detector = Renamed(guarded.detector)
    result = PGD(0.09, steps=6, objective=JOINT)(guarded, x, y)
    assert result.robust.any()
    assert int(result.forwards.sum()) == counting.shown
    assert set(result.forwards[result.robust].tolist()) == {1 + 6 + 1}
    assert set(result.backwards[result.robust].tolist()) == {6}


class Renamed:
    def __init__(self, detector):
        self.inner, self.layers = detector, ("module.left",)
        self.threshold, self.unit = detector.threshold, detector.unit

    def score(self, features):
        return self.inner.score({"left": features["module.left"]})


def test_black_boxes_know_of_the_detector():
    _, guarded, x, y = setting(20)
    result = Square(0.3, queries=150)(guarded, x, y)
    assert result.success.any()
    nearest = HopSkipJump(steps=2, probes=20)(guarded, x[:4], y[:4])
    logits = guarded(nearest.images)
    assert bool((nearest.success == ((logits[:, :2].argmax(1) != y[:4]) & (logits[:, 2] <= 0))).all())


def test_goals():
    _, guarded, x, y = setting()
    rows = y == 0
    result = PGD(0.3, steps=40, objective=Undetected(Targeted(1, Margin())))(guarded, x[rows], y[rows])
    assert result.success.all()
    assert bool((result.predictions == 1).all())


def test_with_stabilised_and_constrained_objectives_inside():
    victim, guarded, x, y = setting()
    clean, inner = clean_images(200, 0), Stabilised(Margin())
    hidden = HierarchicalFeatureConstraint.fit(victim, ["left", "right"], *clean, inner, weight=0.1)
    result = PGD(0.3, steps=40, objective=Undetected(hidden))(guarded, x, y)
    assert result.success.any()
    assert set(result.backwards[result.success].tolist()) == set(result.step[result.success].tolist())


@pytest.mark.parametrize("attack", [PGD(0.3), APGD(0.3, objective=Targeted(1)), PGD(0.3, objective=Stabilised(JOINT))])
def test_objectives_that_ignore_the_detector_are_refused(attack):
    _, guarded, x, y = setting(4)
    with pytest.raises(ValueError, match=r"objective must be Undetected\(...\) for GuardedVictim"):
        attack(guarded, x, y)


@pytest.mark.parametrize("attack", [DeepFool(), DDN(), FAB()])
def test_attacks_on_the_boundary_of_a_classifier_are_refused(attack):
    _, guarded, x, y = setting(4)
    with pytest.raises(ValueError, match="looks at a classifier alone, got GuardedVictim"):
        attack(guarded, x, y)


def test_undetected_needs_a_detector(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (4, 1, 8, 8))
    with pytest.raises(ValueError, match="objective must not be Undetected"):
        PGD(objective=JOINT)(victim, x, lab.answers(victim, x))


def test_ensembles_and_curves():
    _, guarded, x, y = setting(20)
    both = Ensemble((PGD(0.3, steps=20, objective=JOINT), Square(0.3, queries=50)))
    assert both(guarded, x, y).success.all()
    curve = budget_curve(PGD(steps=20, objective=JOINT), [0.04, 0.11, 0.3], guarded, x, y)
    shares = [result.robust_accuracy for result in curve]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (1, 0)


def test_the_model_is_left_as_it_was():
    _, guarded, x, y = setting(4)
    PGD(0.3, objective=JOINT)(guarded, x, y)
    assert not any(part.training or part._forward_hooks for part in guarded.module.modules())


def test_constrained_features_are_detected_less():
    # The constraint leads the left half back to that of clean images, and knows nothing of the detector.
    victim, guarded, x, y = setting()
    constraint = HierarchicalFeatureConstraint.fit(victim, ["left", "right"], *clean_images(200, 0))
    plain = PGD(0.3, steps=100, stop_early=False)
    hidden = PGD(0.3, steps=100, stop_early=False, objective=constraint)
    before, after = (transfer(attack, victim, guarded, x, y) for attack in (plain, hidden))
    assert not before.success.any()
    assert float(after.success.double().mean()) > 0.5


def test_constrained_features_cost_no_pass():
    victim, _, x, y = setting(8)
    clean, labels = clean_images(200, 0)
    objective = HierarchicalFeatureConstraint.fit(victim, ["left", "right"], clean, labels)
    result = PGD(0.01, steps=3, objective=objective)(victim, x, y)
    assert set(result.forwards.tolist()) == {1 + 3 + 1}
    assert set(result.backwards.tolist()) == {3}
    for rows in (torch.arange(len(x))[:3], torch.arange(len(x)).flip(0)):
        part = PGD(0.01, steps=3, objective=objective)(victim, x[rows], y[rows], rows)
        for field in FIELDS:
            assert torch.equal(getattr(part, field), getattr(result, field)[rows]), field
