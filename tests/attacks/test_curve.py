from itertools import pairwise

import pytest
import torch

from medadv.attacks import PGD, BiasFieldAttack, Status, budget_curve

BUDGETS = {"pgd": [0.0, 0.01, 0.03, 0.1, 0.5], "bias-field": [1.01, 1.1, 1.5, 3.0]}
ATTACKS = {"pgd": PGD(steps=4), "bias-field": BiasFieldAttack(steps=4)}


def setting(lab, count=60):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (count, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:4] = (y[:4] + 1) % 3
    return victim, x, y


@pytest.mark.parametrize("name", ATTACKS)
def test_accuracy_falls_and_broken_images_stay_broken(lab, name):
    victim, x, y = setting(lab)
    curve = budget_curve(ATTACKS[name], BUDGETS[name], victim, x, y)
    assert len(curve) == len(BUDGETS[name])
    for before, after in pairwise(curve):
        assert bool((after.success | ~before.success).all())
        kept = ~before.robust
        for field in ("images", "status", "loss", "distance", "forwards", "step"):
            assert torch.equal(getattr(after, field)[kept], getattr(before, field)[kept])
    shares = [result.robust_accuracy for result in curve]
    assert shares[0] > shares[-1] + 0.3
    assert all((result.status[:4] == Status.ALREADY_WRONG).all() for result in curve)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_row_is_what_the_victim_says_within_its_budget(lab, name):
    victim, x, y = setting(lab)
    budgets = BUDGETS[name]
    for budget, result in zip(budgets, budget_curve(ATTACKS[name], budgets, victim, x, y), strict=True):
        assert torch.equal(lab.answers(victim, result.images), result.predictions)
        assert torch.equal(result.predictions == y, result.robust)
        assert float(result.distance.max()) <= budget


@pytest.mark.parametrize("name", ATTACKS)
def test_images_that_reach_a_budget_unbroken_are_attacked_as_on_their_own(lab, name):
    victim, x, y = setting(lab)
    curve = budget_curve(ATTACKS[name], BUDGETS[name], victim, x, y)
    for before, budget, after in zip(curve, BUDGETS[name][1:], curve[1:], strict=False):
        alone = ATTACKS[name].with_budget(budget)(victim, x, y)
        rows = before.robust
        assert torch.equal(after.status[rows], alone.status[rows])
        assert torch.equal(after.images[rows], alone.images[rows])
        assert torch.equal(after.forwards[rows], alone.forwards[rows] - 1)


def test_passes_add_up_to_what_the_model_was_asked(lab):
    victim, x, y = setting(lab)
    counting = lab.Counting(victim.module).eval()
    victim.module = counting
    budgets = BUDGETS["pgd"]
    curve = budget_curve(ATTACKS["pgd"], budgets, victim, x, y)
    attacked = [torch.ones(len(x), dtype=torch.bool), *(result.robust for result in curve[:-1])]
    for passes, asked in (("forwards", counting.shown), ("backwards", counting.differentiated)):
        total = sum(int(getattr(result, passes)[rows].sum()) for result, rows in zip(curve, attacked, strict=True))
        assert total == asked


def test_ids_travel_with_their_images(lab):
    victim, x, y = setting(lab, 40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    curve = budget_curve(ATTACKS["pgd"], [0.01, 0.03], victim, x, y, torch.arange(40) + 100)
    mixed = budget_curve(ATTACKS["pgd"], [0.01, 0.03], victim, x[order], y[order], order + 100)
    for result, other in zip(curve, mixed, strict=True):
        assert torch.equal(other.images, result.images[order])


def test_one_budget_is_the_attack_itself(lab):
    victim, x, y = setting(lab, 20)
    (result,) = budget_curve(PGD(steps=3), [0.05], victim, x, y)
    alone = PGD(eps=0.05, steps=3)(victim, x, y)
    assert torch.equal(result.images, alone.images)
    assert torch.equal(result.forwards, alone.forwards)


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ([], "budgets must not be empty"),
        ([0.2, 0.1], "budgets must rise"),
        ([0.1, 0.1], "budgets must rise"),
        ([-0.1, 0.1], "eps must be at least 0"),
    ],
)
def test_wrong_budgets(lab, budgets, words):
    victim, x, y = setting(lab, 5)
    with pytest.raises(ValueError, match=words):
        budget_curve(PGD(), budgets, victim, x, y)


def test_the_door_is_closed_to_wrong_input(lab):
    victim, x, y = setting(lab, 5)
    with pytest.raises(ValueError, match="images must lie inside the bounds"):
        budget_curve(PGD(), [0.1], victim, x + 2, y)
