"""Attacks on models that draw random numbers: expectation over transformation."""

import pytest
import torch
from support.budgets import MODERATE
from support.registry import GRADIENT_ATTACKS
from torch import nn

from medadv.attacks import (
    APGD,
    DDN,
    DIFGSM,
    FMN,
    PGD,
    BiasFieldAttack,
    DeepFool,
    Diversity,
    Gradient,
    HopSkipJump,
    Search,
    Square,
    StabilisedMedicalAttack,
    budget_curve,
    maximise,
    transfer,
)
from medadv.models import RandomisedVictim, Victim
from medadv.objectives import CrossEntropy, Margin
from medadv.perturbations import Additive

FIELDS = ("images", "status", "predictions", "forwards", "backwards", "step", "distance", "loss")


class Noise(nn.Module):
    def __init__(self, size=0.3):
        super().__init__()
        self.size = size

    def forward(self, images):
        return images + self.size * torch.randn_like(images)


def setting(lab, count=24, draws=4, axes=2, channels=1, bounds=(0.0, 1.0)):
    plain = lab.curved_victim(axes=axes, channels=channels, bounds=bounds)
    net = nn.Sequential(Noise(), plain.module).eval()
    victim = RandomisedVictim(net, draws=draws, bounds=bounds, mean=plain.mean, std=plain.std)
    x = lab.images_in(bounds, (count, channels, *[8, 7, 6][:axes]))
    return victim, x, lab.answers(victim, x)


class RandomWeights(nn.Module):
    """Logits [0, (w + R) x], R drawn anew in every pass; remembers each draw."""

    def __init__(self, pixels):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, -0.6, pixels, dtype=torch.float64))
        self.drawn = []

    def forward(self, images):
        weight = self.weight + 0.5 * torch.randn_like(self.weight)
        self.drawn.append(weight.detach())
        score = (images.flatten(1) - 0.5).double() @ weight
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize("samples", [1, 5])
def test_a_step_follows_the_mean_gradient_of_its_own_draws(lab, samples):
    net = RandomWeights(16).eval()
    victim = RandomisedVictim(net, draws=3)
    x = lab.images_in((0.25, 0.75), (4, 1, 4, 4))
    y = lab.answers(victim, x)
    net.drawn.clear()
    search = Search(2, "l2", 0.1, random_start=False, stop_early=False, gradient=Gradient(samples=samples))
    family = Watched(1.0, "l2")
    maximise(search, family, Margin(), victim, x, y, torch.arange(4))
    # Clean and then per step: three draws to judge, the same each time, and fresh ones for the gradient.
    per_step = 3 + samples
    assert len(net.drawn) == 3 + 2 * per_step + 3
    judged = net.drawn[:3]
    for step in range(2):
        block = net.drawn[3 + step * per_step : 3 + (step + 1) * per_step]
        assert all(torch.equal(one, other) for one, other in zip(block[:3], judged, strict=True))
        assert not any(torch.equal(one, other) for one in block[3:] for other in judged)
        mean = torch.stack(block[3:]).mean(0)
        sign = torch.where(y == 0, 1.0, -1.0).double().unsqueeze(1)
        moved = (family.seen[step + 1] - family.seen[step]).double().flatten(1)
        torch.testing.assert_close(moved, 0.1 * sign * mean / mean.norm(), rtol=1e-4, atol=1e-6)
    assert not torch.equal(net.drawn[6], net.drawn[6 + per_step])


class Watched(Additive):
    """Notes the images that are judged."""

    def __init__(self, eps, norm):
        super().__init__(eps, norm)
        object.__setattr__(self, "seen", [])

    def apply(self, images, parameters, bounds):
        changed = super().apply(images, parameters, bounds)
        if not torch.is_grad_enabled():
            self.seen.append(changed.detach())
        return changed


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_results_do_not_depend_on_batch_size_or_order(lab, name):
    victim, x, y = setting(lab, 12, draws=2)
    attack = GRADIENT_ATTACKS[name](steps=1 if name == "fgsm" else 3).with_budget(MODERATE.get(name, 0.05))
    whole = attack(victim, x, y)
    for rows in (torch.arange(7), torch.tensor([3]), torch.arange(12).flip(0)):
        part = attack(victim, x[rows], y[rows], rows)
        for field in FIELDS:
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


@pytest.mark.parametrize("attack", [DDN(steps=6), FMN(steps=6), DeepFool(steps=6), Square(0.1, queries=10)])
def test_other_attacks_run_on_the_draws_of_the_judge(lab, attack):
    victim, x, y = setting(lab, 12)
    whole = attack(victim, x, y)
    assert whole.success.any()
    assert torch.equal(lab.answers(victim, whole.images) != y, whole.success)
    for rows in (torch.arange(7), torch.tensor([3]), torch.arange(12).flip(0)):
        part = attack(victim, x[rows], y[rows], rows)
        for field in FIELDS:
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


GRADIENTS = {
    "plain": (Gradient(), 1),
    "samples": (Gradient(samples=3), 3),
    "all": (Gradient(True, 2, Diversity(), 0.8, 1, samples=2), 8),
}


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("stop_early", [True, False])
def test_passes_are_counted(lab, name, stop_early):
    victim, x, y = setting(lab)
    victim.module = counting = lab.Counting(victim.module).eval()
    victim._one_by_one = True
    gradient, slopes = GRADIENTS[name]
    search = Search(3, momentum=0.9, gradient=gradient, stop_early=stop_early)
    result = maximise(search, Additive(0.05), CrossEntropy(), victim, x, y, torch.arange(24))
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    assert result.robust.any()
    assert set(result.forwards[result.robust].tolist()) == {4 + 3 * (4 + slopes) + 4}
    assert set(result.backwards[result.robust].tolist()) == {3 * slopes}


@pytest.mark.parametrize(
    "attack",
    [PGD(0.05, steps=3), StabilisedMedicalAttack(0.05, steps=3), DDN(steps=4), HopSkipJump(steps=1, probes=5)],
)
def test_passes_of_a_call_are_counted(lab, attack):
    victim, x, y = setting(lab, 6)
    victim.module = counting = lab.Counting(victim.module).eval()
    victim._one_by_one = True
    victim._check_module = lambda images: None
    result = attack(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    counting.shown = 0
    transferred = transfer(PGD(0.05, steps=3), lab.curved_victim(), victim, x, y)
    assert int(transferred.forwards.sum()) == counting.shown


@pytest.mark.parametrize(("axes", "channels", "bounds"), [(2, 3, (0.0, 1.0)), (3, 1, (-1024.0, 3071.0))])
@pytest.mark.parametrize("attack", [PGD(0.1, gradient=Gradient(samples=2)), BiasFieldAttack(1.5, steps=10)])
def test_budget_bounds_and_success(lab, attack, axes, channels, bounds):
    victim, x, y = setting(lab, 12, 3, axes, channels, bounds)
    result = attack(victim, x, y)
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    assert float(result.distance.max()) <= attack.budget
    assert result.success.any()
    assert torch.equal(lab.answers(victim, result.images) != y, result.success)


def test_fresh_draws_generalise_better_than_those_of_the_judge(lab):
    x = lab.images_in((0.3, 0.7), (60, 1, 6, 6))
    net = RandomWeights(36).eval()
    judge = RandomisedVictim(net, draws=200, seed=1)
    y = lab.answers(judge, x)
    one = RandomisedVictim(net, draws=1)
    keep = lab.answers(one, x) == y
    attack = PGD(0.03, steps=30, stop_early=False, random_start=False, objective=Margin())
    fresh = transfer(attack, one, judge, x[keep], y[keep])
    fixed = transfer(attack, Victim(Frozen(one).eval()), judge, x[keep], y[keep])
    assert fresh.robust_accuracy < fixed.robust_accuracy


class Frozen(nn.Module):
    """The draws of a randomised victim as a model that draws nothing."""

    def __init__(self, victim):
        super().__init__()
        self.victim = victim

    def forward(self, images):
        return self.victim(images)


def test_samples_average_random_motions_of_a_plain_victim(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (8, 1, 12, 12))
    y = lab.answers(victim, x)
    one, five = (
        DIFGSM(0.05, steps=2, stop_early=False, gradient=Gradient(diversity=Diversity(1.0), samples=samples))
        for samples in (1, 5)
    )
    assert set((five(victim, x, y).backwards - one(victim, x, y).backwards).tolist()) == {2 * 4}
    assert not torch.equal(five(victim, x, y).images, one(victim, x, y).images)


def test_several_samples_of_nothing_random_are_refused(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"samples must be 1 where nothing is random, neither .*Victim.*, got 3"):
        PGD(gradient=Gradient(samples=3))(victim, x, lab.answers(victim, x))
    with pytest.raises(ValueError, match="samples must be at least 1"):
        Gradient(samples=0)


def test_the_seed_of_the_search_decides_its_draws(lab):
    victim, x, y = setting(lab)
    attack = PGD(0.05, steps=3, random_start=False, stop_early=False)
    one, same, other = (
        attack(victim, x, y),
        attack(victim, x, y),
        PGD(0.05, steps=3, random_start=False, stop_early=False, seed=1)(victim, x, y),
    )
    assert torch.equal(one.images, same.images)
    assert not torch.equal(one.images, other.images)


def test_adaptive_steps_and_curves(lab):
    victim, x, y = setting(lab)
    assert APGD(0.1, steps=10)(victim, x, y).success.any()
    curve = budget_curve(PGD(steps=5), [0.01, 0.05, 0.2], victim, x, y)
    shares = [result.robust_accuracy for result in curve]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_the_model_is_left_as_it_was(lab):
    victim, x, y = setting(lab)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    PGD(0.05, steps=3)(victim, x, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in victim.module.parameters())
