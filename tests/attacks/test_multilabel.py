"""Attacks on models of several labels, which peers attack with the loss of one class, in silence."""

import pytest
import torch
from support.budgets import MODERATE
from support.distances import to_hyperplane
from support.registry import GRADIENT_ATTACKS as ATTACKS
from torch import nn

from medadv.attacks import (
    APGD,
    DDN,
    FAB,
    FGSM,
    FMN,
    PGD,
    CarliniWagner,
    DeepFool,
    HopSkipJump,
    Status,
    budget_curve,
)
from medadv.models import Victim
from medadv.objectives import CrossEntropy, Margin

LABELS = 14


def findings_victim(labels=LABELS, pixels=64):
    """A linear model in float64 whose labels are near to changing, each at its own distance."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(pixels, labels, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(labels, pixels, generator=generator, dtype=torch.float64) / 8)
        layer.bias.copy_(-layer.weight.sum(1) / 2)
    return Victim(nn.Sequential(nn.Flatten(), layer).eval(), task="multilabel"), layer.weight.detach()


def setting(lab, count=40):
    victim, weight = findings_victim()
    x = 0.3 + 0.4 * lab.images_in((0.0, 1.0), (count, 1, 8, 8))
    with torch.no_grad():
        logits = victim(x)
    return victim, weight, x, (logits > 0).long(), logits


@pytest.mark.parametrize("objective", [CrossEntropy(), Margin()])
def test_one_step_of_a_binary_problem_is_exact(lab, objective):
    victim, weight = findings_victim(labels=1)
    x = 0.3 + 0.4 * lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    y = (victim(x) > 0).long()
    sign = (1 - 2 * y).reshape(-1, 1, 1, 1)
    best = x + 0.05 * sign * weight.sign().reshape(1, 1, 8, 8).float()
    result = FGSM(eps=0.05, objective=objective, stop_early=False)(victim, x, y)
    torch.testing.assert_close(result.images, best, rtol=0, atol=1e-6)


def test_succeeds_exactly_where_some_label_is_within_reach(lab):
    victim, weight, x, y, logits = setting(lab, 200)
    reach = weight.abs().sum(1).float()
    needed = (logits.abs() / reach).amin(1)
    eps = float(needed.median())
    result = PGD(eps=eps, steps=20, objective=Margin())(victim, x, y)
    clear = (needed - eps).abs() > 1e-5
    assert torch.equal(result.success[clear], (needed < eps)[clear])


def binary_cross_entropy(victim, images, targets):
    with torch.no_grad():
        return CrossEntropy()(victim(images), targets)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_cross_entropy_turns_most_labels_over(lab, norm):
    victim, _, x, y, _ = setting(lab)
    eps = {"linf": 0.05, "l2": 0.4, "l1": 3.0}[norm]
    result = PGD(eps=eps, norm=norm, stop_early=False)(victim, x, y)
    assert float((result.predictions != y).double().mean()) > 0.4
    gain = binary_cross_entropy(victim, result.images, y) - binary_cross_entropy(victim, x, y)
    assert float(gain.min()) > 0.4


def test_healthy_images_are_attacked_too(lab):
    # No label is there: the softmax loss of a label vector of zeros is zero, and peers do nothing.
    victim, _, x, _, logits = setting(lab)
    with torch.no_grad():
        victim.module[1].bias.sub_(float(logits.max()) + 0.01)
    y = torch.zeros_like(logits, dtype=torch.int64)
    result = PGD(eps=0.5)(victim, x, y)
    assert result.success.all()


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_returns_label_vectors(lab, name):
    victim, _, x, y, _ = setting(lab, 12)
    y[:2, 0] = 1 - y[:2, 0]
    attack = ATTACKS[name]().with_budget(MODERATE.get(name, 0.02))
    result = attack(victim, x, y)
    assert result.predictions.shape == result.clean_predictions.shape == (12, LABELS)
    assert result.predictions.dtype == torch.int64
    assert torch.equal(result.predictions, (victim(result.images) > 0).long())
    assert torch.equal((result.predictions != y).any(1), result.status != Status.FAILED)
    assert result.status[:2].tolist() == [Status.ALREADY_WRONG] * 2
    assert result.forwards.shape == (12,)
    assert result.success.any()


def test_results_do_not_depend_on_batch_size_or_order(lab):
    victim, _, x, y, _ = setting(lab)
    attack = APGD(eps=0.01, steps=10, restarts=2)
    whole = attack(victim, x, y)
    assert {Status.SUCCESS, Status.FAILED} == set(whole.status.tolist())
    for rows in (*torch.arange(40).split(7), torch.arange(40).flip(0)):
        part = attack(victim, x[rows], y[rows], rows)
        for field in ("images", "status", "predictions", "forwards", "step"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows])


def test_curves(lab):
    victim, _, x, y, _ = setting(lab)
    curve = budget_curve(PGD(steps=5), [0.001, 0.01, 0.1], victim, x, y)
    shares = [result.robust_accuracy for result in curve]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1] == 0


MINIMUM_NORM = {
    "deepfool-l2": DeepFool("l2", classes=LABELS + 1),
    "deepfool-linf": DeepFool("linf", classes=LABELS + 1),
    "fab-linf": FAB("linf", steps=10, classes=LABELS + 1),
    "fab-l1": FAB("l1", steps=10, classes=LABELS + 1),
    "fab-t": FAB("l2", targeted=True, steps=3, classes=LABELS + 1),
    "ddn": DDN(steps=40),
    "fmn-linf": FMN("linf", steps=40),
    "fmn-l2": FMN("l2", steps=40),
    "fmn-l1": FMN("l1", steps=40),
    "fmn-l0": FMN("l0", steps=40),
    "carlini-wagner": CarliniWagner(weight=1.0, searches=3, steps=60),
    "hop-skip-jump": HopSkipJump("l2", steps=3, probes=20),
}


@pytest.mark.parametrize("name", MINIMUM_NORM)
def test_minimum_norm_attacks_find_the_nearest_label(lab, name):
    victim, weight, x, y, logits = setting(lab, 12)
    y[:2, 0] = 1 - y[:2, 0]
    attack = MINIMUM_NORM[name]
    result = attack(victim, x, y)
    assert result.status.tolist() == [Status.ALREADY_WRONG] * 2 + [Status.SUCCESS] * 10
    assert torch.equal((result.predictions != y).any(1), torch.ones(12, dtype=torch.bool))
    assert torch.equal(result.predictions, (victim(result.images) > 0).long())
    # Each label is a boundary of its own: turned over by a change along its weights, and a little beyond.
    beyond = getattr(attack, "kappa", 0.0) * logits.abs().amax(1).clamp_min(1)
    exact = torch.tensor(
        [
            min(
                to_hyperplane(
                    (1 - 2 * y[row, label]).double().numpy() * weight[label].numpy(),
                    abs(float(logits[row, label])) + float(beyond[row]),
                    -x[row].flatten().double().numpy(),
                    1 - x[row].flatten().double().numpy(),
                    attack.measure,
                )
                for label in range(LABELS)
            )
            for row in range(2, 12)
        ]
    )
    ratio = result.distance[2:] / exact
    assert float(ratio.min()) >= 1 - 1e-6
    assert name == "hop-skip-jump" or float(ratio.max()) <= 1.03


@pytest.mark.parametrize("attack", [DeepFool(steps=5), FMN("l0", steps=5), CarliniWagner(searches=1, steps=5)])
def test_minimum_norm_attacks_work_on_one_finding(lab, attack):
    victim, _ = findings_victim(labels=1)
    x = 0.3 + 0.4 * lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    y = (victim(x) > 0).long()
    result = attack(victim, x, y)
    assert result.success.all()
    assert torch.equal(result.predictions, 1 - y)
