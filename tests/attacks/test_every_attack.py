"""What must hold for every attack of the registry: any image, any kind of classifier, a model left as it was."""

import pytest
import torch
from support.budgets import MODERATE
from support.registry import GRADIENT_ATTACKS as ATTACKS
from torch import nn

from medadv.attacks import Status
from medadv.models import Victim
from medadv.objectives import CrossEntropy, CrossEntropyOrMargin

RADII = [name for name, kind in ATTACKS.items() if kind.budget_field == "eps"]
RANGES = [(0.0, 1.0), (-1024.0, 3071.0)]


def budget_of(name, eps):
    return MODERATE.get(name, eps)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(("channels", "axes", "bounds"), [(1, 3, RANGES[1]), (3, 2, RANGES[0]), (4, 3, RANGES[0])])
def test_any_image(lab, name, channels, axes, bounds):
    victim = lab.curved_victim(channels=channels, bounds=bounds, axes=axes)
    x = lab.images_in(bounds, (6, channels, *[9, 8, 7][:axes]))
    y = lab.answers(victim, x)
    attack = ATTACKS[name]().with_budget(budget_of(name, 0.1))
    result = attack(victim, x, y)
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    assert float(result.distance.max()) <= attack.budget
    if name in RADII:
        assert 0 < float((result.images.double() - x.double()).abs().max()) <= 0.1 * (bounds[1] - bounds[0])
    assert torch.equal(lab.answers(victim, result.images), result.predictions)
    assert torch.equal(result.predictions != y, result.status == Status.SUCCESS)
    # It climbs: a step down, or none, would leave the cross-entropy where it was. (A motion can change the answer
    # without raising it.)
    if not isinstance(attack.objective, CrossEntropy | CrossEntropyOrMargin):
        return
    with torch.no_grad():
        rose = result.loss > CrossEntropy()(victim(x), y)
    assert bool((rose | (result.success & (name not in RADII))).all())


@pytest.mark.parametrize("name", RADII)
@pytest.mark.parametrize("logits", [1, 2])
def test_binary_models_of_one_and_two_logits(lab, name, logits):
    linear, _ = lab.linear_victim((1, 6, 6), classes=logits)
    victim = Victim(linear.module, task="binary")
    x = 0.3 + 0.4 * lab.images_in((0.0, 1.0), (20, 1, 6, 6))
    y = lab.answers(victim, x)
    result = ATTACKS[name]().with_budget(1.0)(victim, x, y)
    if name == "ti-fgsm":
        # Its filter is as wide as the image, so that only what the filter leaves can be followed.
        assert result.success.any()
    else:
        assert result.success.all()
    assert torch.equal(lab.answers(victim, result.images) != y, result.success)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_model_is_left_as_it_was(lab, name):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    net[4].bias.grad = torch.ones(3)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    victim = Victim(net)
    x = lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    before = x.clone()
    ATTACKS[name]()(victim, x, lab.answers(victim, x))
    assert torch.equal(x, before)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert [parameter.grad is None for parameter in net.parameters()] == [True] * 5 + [False]
    assert not any(part.training or part._forward_hooks or part._backward_hooks for part in net.modules())


@pytest.mark.parametrize("name", ATTACKS)
def test_results_do_not_depend_on_batch_size_or_order(lab, name):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (64, 1, 8, 8))
    y = lab.answers(victim, x)
    attack = ATTACKS[name]().with_budget(budget_of(name, 0.03))
    whole = attack(victim, x, y)
    for rows in (*torch.arange(64).split(7)[4:6], *torch.arange(64).split(1)[9:11], torch.arange(64).flip(0)):
        part = attack(victim, x[rows], y[rows], rows)
        for field in ("images", "status", "predictions", "forwards", "backwards", "step", "distance"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


@pytest.mark.parametrize("name", RADII)
def test_the_budget_holds_when_the_model_runs_in_half_precision(lab, name):
    torch.manual_seed(0)
    victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).bfloat16().eval())
    x = lab.images_in((0.0, 1.0), (8, 1, 8, 8))
    result = ATTACKS[name](eps=0.05)(victim, x, lab.answers(victim, x))
    assert result.images.dtype == torch.float32
    assert 0 < float((result.images - x).abs().max()) <= 0.05
