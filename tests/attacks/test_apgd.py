import math

import pytest
import torch
from torch import nn

from medadv.attacks import APGD, PGD, Search, Status
from medadv.models import Victim
from medadv.objectives import DLR, CrossEntropy, Margin, Targeted, TargetedDLR
from medadv.perturbations import Additive

OBJECTIVES = {
    "cross-entropy": CrossEntropy(),
    "dlr": DLR(),
    "targeted dlr": TargetedDLR(),
    "margin": Margin(),
}


def setting(lab, count=60, classes=5, **options):
    victim = lab.curved_victim(classes=classes, **options)
    bounds, axes = options.get("bounds", (0.0, 1.0)), options.get("axes", 2)
    x = lab.images_in(bounds, (count, options.get("channels", 1), *[8, 7, 6][:axes]))
    return victim, x, lab.answers(victim, x)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_finds_the_worst_case_of_a_linear_model(lab, objective, norm, classes):
    victim, weight = lab.linear_victim((1, 6, 6), classes=classes)
    x = 0.3 + 0.4 * lab.images_in((0.0, 1.0), (100, 1, 6, 6))
    y = lab.answers(victim, x)
    with torch.no_grad():
        logits = victim(x)
    # The distance to each wrong class is known; the nearest decides.
    slopes = (weight.unsqueeze(0) - weight[y].unsqueeze(1)).flatten(2).float()
    reach = slopes.abs().sum(2) if norm == "linf" else slopes.norm(dim=2)
    needed = (logits.gather(1, y.unsqueeze(1)) - logits) / reach
    needed = needed.scatter(1, y.unsqueeze(1), math.inf).amin(1)
    eps = float(needed.median())
    attack = APGD(eps, norm, steps=40, restarts=classes - 1, objective=OBJECTIVES[objective])
    result = attack(victim, x, y)
    assert not bool((result.success & (needed > eps + 1e-5)).any())
    missed = result.robust & (needed < eps * 0.99 - 1e-5)
    # Only leading to every class in turn is sure of the nearest one; the cross-entropy averages over all of them.
    sure = objective == "targeted dlr" or classes == 2
    assert int(missed.sum()) <= (0 if sure else 20 if objective == "cross-entropy" else 4)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_results_do_not_depend_on_batch_size_or_order(lab, objective, norm):
    victim, x, y = setting(lab)
    eps = 0.01 if norm == "linf" else 0.06
    attack = APGD(eps, norm, steps=12, restarts=2, objective=OBJECTIVES[objective])
    whole = attack(victim, x, y)
    assert whole.success.any()
    assert whole.robust.any()
    for rows in (*torch.arange(60).split(7)[:3], *torch.arange(60).split(1)[:4], torch.arange(60).flip(0)):
        part = attack(victim, x[rows], y[rows], rows)
        for field in ("images", "status", "predictions", "forwards", "backwards", "step"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


def test_model_calls_are_at_the_floor(lab):
    victim, x, y = setting(lab)
    victim.module = counting = lab.Counting(victim.module).eval()
    result = APGD(0.005, steps=20, restarts=3)(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    assert set(result.forwards[result.robust].tolist()) == {1 + 3 * 21}
    assert set(result.backwards[result.robust].tolist()) == {3 * 20}


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1024.0, 3071.0)])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_keeps_budget_and_bounds_for_any_image(lab, bounds, axes, channels, norm):
    victim, x, y = setting(lab, 6, bounds=bounds, axes=axes, channels=channels)
    eps = 0.1
    result = APGD(eps, norm, steps=10, objective=DLR())(victim, x, y)
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    change = result.images - x
    size = change.abs().max() if norm == "linf" else change.double().flatten(1).norm(dim=1).max()
    assert 0 < float(size) <= eps * (bounds[1] - bounds[0])


def test_finds_higher_values_than_steps_of_one_length(lab):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    with torch.no_grad():
        for layer in (net[1], net[3]):
            layer.weight.mul_(4)
    victim = Victim(net.eval())
    x = lab.images_in((0.0, 1.0), (60, 1, 8, 8))
    y = lab.answers(victim, x)
    options = {"stop_early": False, "objective": Margin(), "steps": 100}
    adaptive, fixed = (kind(0.02, **options)(victim, x, y).loss for kind in (APGD, PGD))
    assert float((adaptive - fixed).mean()) > 0
    assert bool((adaptive >= fixed - 0.02 * fixed.abs()).double().mean() > 0.9)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_ratio_of_logits_breaks_models_of_any_scale(lab, scale):
    victim, x, y = setting(lab)
    module = victim.module
    module[-1].weight.data.mul_(scale)
    module[-1].bias.data.mul_(scale)
    result = APGD(0.02, steps=10, objective=DLR())(victim, x, y)
    module[-1].weight.data.div_(scale)
    module[-1].bias.data.div_(scale)
    expected = APGD(0.02, steps=10, objective=DLR())(victim, x, y)
    assert torch.equal(result.status, expected.status)
    assert result.success.any()


@pytest.mark.parametrize("goal", [2, "least likely", "most likely"])
def test_targeted_attacks_succeed_only_at_their_goal(lab, goal):
    victim, x, y = setting(lab, classes=3)
    keep = y != 2 if goal == 2 else torch.ones_like(y, dtype=torch.bool)
    x, y = x[keep], y[keep]
    objective = Targeted(goal)
    goals = objective.goals(victim(x).detach(), y)
    result = APGD(0.08, steps=20, objective=objective)(victim, x, y)
    assert result.success.any()
    assert torch.equal(result.predictions == goals, result.success)


def test_a_wrong_answer_that_is_not_the_goal_is_no_success(lab):
    victim, x, y = setting(lab, classes=5)
    result = APGD(0.05, steps=20, objective=Targeted("least likely"))(victim, x, y)
    elsewhere = result.predictions != y
    assert (elsewhere & result.robust).any()
    assert APGD(0.05, steps=20)(victim, x, y).success[elsewhere].all()


def test_a_goal_that_is_right_for_some_image_is_refused(lab):
    victim, x, y = setting(lab, 20)
    with pytest.raises(ValueError, match="goal must not be the right class of an image"):
        PGD(objective=Targeted(int(y[0])))(victim, x, y)


def test_already_wrong_images_are_left_alone_by_targeted_attacks(lab):
    victim, x, y = setting(lab, 20, classes=3)
    y = (y + 1) % 3
    result = APGD(steps=3, objective=Targeted())(victim, x, y)
    assert (result.status == Status.ALREADY_WRONG).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_budget_holds_when_the_model_runs_in_half_precision(lab, dtype):
    torch.manual_seed(0)
    victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).to(dtype).eval())
    x = lab.images_in((0.0, 1.0), (8, 1, 8, 8))
    y = lab.answers(victim, x)
    result = APGD(0.05, steps=10, objective=DLR())(victim, x, y)
    assert result.images.dtype == torch.float32
    assert float((result.images - x).abs().max()) <= 0.05
    assert result.success.any()


def test_parts():
    assert APGD(0.1, "l2", seed=4).search == Search(100, "l2", adaptive=True, seed=4)
    assert APGD().search.step_length == 2.0
    assert APGD(0.1).perturbation == Additive(0.1)
    assert APGD().configuration()["objective"] == "CrossEntropy()"
