import math

import pytest
import torch
from torch import nn

from medadv.attacks import PGD, Search, Status
from medadv.models import Victim
from medadv.objectives import CrossEntropy, Margin
from medadv.perturbations import Additive

RANGES = [(0.0, 1.0), (-1024.0, 3071.0), (-1.0, 1.0)]
SHAPES = [(1, 6, 6), (3, 5, 4), (4, 4, 4), (1, 3, 4, 5), (2, 3, 3, 3)]


def inner_images(bounds, shape, count=5):
    """Images that stay inside the bounds whatever a small budget does."""
    low, high = bounds
    share = 0.3 + 0.4 * torch.rand(count, *shape, generator=torch.Generator().manual_seed(7))
    return low + (high - low) * share


def margin(victim, images, targets):
    with torch.no_grad():
        return Margin()(victim(images), targets)


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("objective", [CrossEntropy(), Margin()])
def test_reaches_the_worst_case_of_a_linear_model_in_the_linf_ball(lab, bounds, shape, objective):
    eps, scale = 0.02, bounds[1] - bounds[0]
    victim, weight = lab.linear_victim(shape, bounds=bounds, mean=sum(bounds) / 2, std=scale)
    x = inner_images(bounds, shape)
    y = lab.answers(victim, x)
    direction = torch.stack([weight[1 - label] - weight[label] for label in y])
    best = x + eps * scale * direction.sign().float()
    result = PGD(eps=eps, steps=5, stop_early=False, objective=objective)(victim, x, y)
    torch.testing.assert_close(result.images, best, rtol=0, atol=scale * 2e-7)
    torch.testing.assert_close(margin(victim, result.images, y), margin(victim, best, y), rtol=1e-5, atol=1e-6)
    expected = margin(victim, x, y) + eps * direction.abs().flatten(1).sum(1).float()
    torch.testing.assert_close(margin(victim, result.images, y), expected, rtol=1e-5, atol=1e-6)
    assert result.distance.tolist() == pytest.approx([eps] * 5, rel=1e-5)


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("objective", [CrossEntropy(), Margin()])
def test_reaches_the_worst_case_of_a_linear_model_in_the_l2_ball(lab, bounds, shape, objective):
    eps, scale = 0.2, bounds[1] - bounds[0]
    victim, weight = lab.linear_victim(shape, bounds=bounds, mean=sum(bounds) / 2, std=scale)
    x = inner_images(bounds, shape)
    y = lab.answers(victim, x)
    direction = torch.stack([weight[1 - label] - weight[label] for label in y])
    length = direction.flatten(1).norm(dim=1).reshape(-1, *[1] * len(shape))
    best = x + eps * scale * (direction / length).float()
    attack = PGD(eps=eps, norm="l2", steps=40, step_size=0.5, stop_early=False, objective=objective)
    result = attack(victim, x, y)
    # Near the best point the loss is flat: an angle of 3e-4 changes it by less than float32 can tell.
    torch.testing.assert_close(result.images, best, rtol=0, atol=eps * scale * 1e-3)
    expected = margin(victim, x, y) + eps * length.flatten().float()
    torch.testing.assert_close(margin(victim, result.images, y), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_succeeds_exactly_where_the_closed_form_says(lab, norm):
    victim, weight = lab.linear_victim((1, 6, 6))
    x = inner_images((0.0, 1.0), (1, 6, 6), count=200)
    y = lab.answers(victim, x)
    difference = (weight[1] - weight[0]).flatten()
    reach = difference.abs().sum() if norm == "linf" else difference.norm()
    needed = -margin(victim, x, y) / float(reach)
    eps = float(needed.median())
    result = PGD(eps=eps, norm=norm, steps=40, step_size=0.3)(victim, x, y)
    clear = (needed - eps).abs() > 1e-5
    assert torch.equal(result.success[clear], (needed < eps)[clear])
    assert 0.4 < result.robust_accuracy < 0.6


@pytest.mark.parametrize("task", ["one logit", "two logits", "three classes"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_breaks_every_kind_of_classifier_given_the_whole_range(lab, task, norm):
    victim, _ = lab.linear_victim((1, 6, 6), classes={"one logit": 1, "two logits": 2, "three classes": 3}[task])
    if task != "three classes":
        victim = Victim(victim.module, task="binary")
    low = inner_images((0.0, 1.0), (1, 6, 6), count=20)
    y = lab.answers(victim, low)
    result = PGD(eps=1.0 if norm == "linf" else 6.0, norm=norm)(victim, low, y)
    assert result.success.all()
    assert bool((lab.answers(victim, result.images) != y).all())


def test_both_classes_of_a_one_logit_model_are_attacked(lab):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)).eval()
    with torch.no_grad():
        net[1].weight.fill_(1.0)
        net[1].bias.fill_(-8.0)
    x = torch.cat([torch.full((3, 1, 4, 4), 0.45), torch.full((3, 1, 4, 4), 0.55)])
    y = torch.tensor([0, 0, 0, 1, 1, 1])
    victim = Victim(net, task="binary")
    assert PGD(eps=0.06)(victim, x, y).success.all()
    assert PGD(eps=0.04)(victim, x, y).robust.all()


def test_labels_matter(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (60, 1, 8, 8))
    clean = lab.answers(victim, x)
    shuffled = clean.roll(1)
    result = PGD(eps=0.05, steps=3)(victim, x, shuffled)
    assert torch.equal(result.status == Status.ALREADY_WRONG, clean != shuffled)
    assert torch.equal(result.clean_predictions, clean)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_success_grows_with_the_budget_and_noise_is_weaker(lab, norm):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (100, 1, 8, 8))
    y = lab.answers(victim, x)
    budgets = [0.0, 0.01, 0.03, 0.1] if norm == "linf" else [0.0, 0.05, 0.2, 1.0]
    shares = [PGD(eps=eps, norm=norm, steps=10)(victim, x, y).robust_accuracy for eps in budgets]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.3
    family = Additive(budgets[2], norm)
    generator = torch.Generator().manual_seed(0)
    noise = family.project(x, {"noise": torch.randn(x.shape, generator=generator).sign()}, (0.0, 1.0))
    still_right = (lab.answers(victim, family.apply(x, noise, (0.0, 1.0))) == y).double().mean()
    assert shares[2] < float(still_right) - 0.1


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_keeps_budget_and_bounds_for_any_image(lab, bounds, axes, channels, norm):
    victim = lab.curved_victim(channels=channels, bounds=bounds, axes=axes)
    x = lab.images_in(bounds, (6, channels, *[5, 6, 4][:axes]))
    y = lab.answers(victim, x)
    eps = 0.1
    result = PGD(eps=eps, norm=norm, steps=4, momentum=0.9)(victim, x, y)
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    change = result.images - x
    size = change.abs().max() if norm == "linf" else change.double().flatten(1).norm(dim=1).max()
    assert 0 < float(size) <= eps * (bounds[1] - bounds[0])
    assert float(result.distance.max()) <= eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_budget_holds_when_the_model_runs_in_half_precision(lab, dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to(dtype).eval()
    victim = Victim(net)
    x = lab.images_in((0.0, 1.0), (8, 1, 8, 8))
    y = lab.answers(victim, x)
    result = PGD(eps=0.05)(victim, x, y)
    assert result.images.dtype == torch.float32
    assert float((result.images - x).abs().max()) <= 0.05
    assert result.success.any()


def test_the_change_scales_with_the_image_range(lab):
    unit, _ = lab.linear_victim((1, 6, 6))
    hounsfield = Victim(unit.module, bounds=(-1024, 3071), mean=-1024.0, std=4095.0)
    x = inner_images((0.0, 1.0), (1, 6, 6), count=20)
    y = lab.answers(unit, x)
    attack = PGD(eps=0.03, steps=5)
    small, large = attack(unit, x, y), attack(hounsfield, x * 4095 - 1024, y)
    assert torch.equal(small.status, large.status)
    torch.testing.assert_close((large.images + 1024) / 4095, small.images, rtol=0, atol=1e-6)


def test_the_door_is_closed_to_wrong_input(lab):
    victim, _ = lab.linear_victim((1, 6, 6))
    x, y = inner_images((0.0, 1.0), (1, 6, 6)), torch.zeros(5, dtype=torch.int64)
    with pytest.raises(ValueError, match="images must lie inside the bounds"):
        PGD()(victim, x * 255, y)
    with pytest.raises(ValueError, match="targets must lie in"):
        PGD()(victim, x, y + 2)
    with pytest.raises(TypeError, match="ids must be an int64 tensor"):
        PGD()(victim, x, y, ids=[0, 1, 2, 3, 4])
    with pytest.raises(TypeError, match=r"ids must be an int64 tensor, got torch.float32"):
        PGD()(victim, x, y, ids=torch.arange(5.0))
    with pytest.raises(ValueError, match=r"ids must have shape \[5\]"):
        PGD()(victim, x, y, ids=torch.arange(4))
    victim.module.train()
    with pytest.raises(ValueError, match="eval"):
        PGD()(victim, x, y)


def test_parts():
    attack = PGD(eps=0.1, norm="l2", steps=7, step_size=0.2, momentum=0.5, restarts=3, seed=9)
    assert attack.perturbation == Additive(0.1, "l2")
    assert attack.search == Search(7, "l2", 0.2, 0.5, 3, True, True, 9)
    assert PGD().search.rule == "sign"
    assert PGD().objective == CrossEntropy()
    assert (attack.name, attack.budget) == ("pgd", 0.1)
    assert PGD(eps=8 / 255) == PGD()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"eps": -1 / 255}, ValueError, "eps must be at least 0"),
        ({"eps": math.nan}, ValueError, "eps must be finite"),
        ({"eps": True}, TypeError, "eps must be a number, got True"),
        ({"norm": "L2"}, ValueError, "norm must be one of linf, l2, l1, got 'L2'"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"objective": CrossEntropy}, TypeError, "objective must be an objective"),
        ({"objective": "margin"}, TypeError, "objective must be an objective"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        PGD(**arguments)
