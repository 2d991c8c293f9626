from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from support.budgets import MODERATE

from medadv.attacks import ATTACKS as ATTACKS_BY_NAME
from medadv.attacks import (
    FAB,
    PGD,
    AffineAttack,
    BiasFieldAttack,
    BudgetedAttack,
    Ensemble,
    Square,
    Status,
    budget_curve,
)
from medadv.objectives import Margin, Targeted

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


def linear_setting(lab):
    """A linear victim, grey images far from the bounds, and the L-infinity radius at which each breaks."""
    victim, weight = lab.linear_victim((1, 4, 4))
    x = 0.45 + 0.1 * lab.images_in((0.0, 1.0), (60, 1, 4, 4))
    y = lab.answers(victim, x)
    with torch.no_grad():
        logits = victim(x).double()
    radius = (logits[:, 0] - logits[:, 1]).abs() / (weight[0] - weight[1]).abs().sum()
    victim.module = lab.Counting(victim.module).eval()
    return victim, x, y, radius


# Each step leads from the clean image to the corner of the ball, so it breaks exactly what can be broken, in one step.
STEPS = 4
CORNER = PGD(steps=STEPS, step_size=1.0, random_start=False)


@pytest.mark.parametrize("falling", [False, True])
def test_model_calls_are_counted_exactly(lab, falling):
    victim, x, y, radius = linear_setting(lab)
    budgets = torch.quantile(radius, torch.linspace(0.1, 0.85, 8, dtype=torch.float64)).tolist()
    curve = budget_curve(CORNER, budgets, victim, x, y, falling=falling)
    broken = torch.stack([result.success for result in curve])
    assert torch.equal(broken, radius < torch.tensor(budgets).unsqueeze(1))
    withstood = int((~broken).any(0).sum())  # images that are once attacked in vain, when budgets fall
    attacked = int((~broken[:-1]).sum()) + len(x)  # pairs of an image and a rising budget
    if falling:
        # All images at the largest budget; below, those that broke are first drawn in, which a corner withstands only
        # where the smaller budget is too small: then the attack is made and fails.
        drawn = int(broken[1:].sum())
        lost = drawn - int(broken[:-1].sum())
        shown = len(x) + 2 * int(broken[-1].sum()) + (STEPS + 1) * withstood + drawn
        differentiated = int(broken[-1].sum()) + STEPS * withstood
        assert withstood == lost + int((~broken[-1]).sum())
    else:
        shown = len(x) + 2 * int(broken[-1].sum()) + (STEPS + 1) * int((~broken).sum())
        differentiated = int(broken[-1].sum()) + STEPS * int((~broken).sum())
        assert attacked == int(broken[-1].sum()) + int((~broken).sum())
    assert (victim.module.shown, victim.module.differentiated) == (shown, differentiated)
    if falling:
        assert sum(int(result.forwards.sum()) for result in curve) == shown
        assert sum(int(result.backwards.sum()) for result in curve) == differentiated


def test_falling_budgets_cost_a_third_of_one_run_per_attack_and_budget(lab):
    victim, x, y, radius = linear_setting(lab)
    budgets = torch.quantile(radius, torch.linspace(0.1, 0.85, 8, dtype=torch.float64)).tolist()
    four = Ensemble((CORNER, PGD(steps=STEPS), PGD(steps=STEPS, objective=Margin()), Square(queries=10)))
    separate = torch.stack(
        [torch.stack([each.with_budget(eps)(victim, x, y).success for each in four.attacks]).any(0) for eps in budgets]
    )
    calls = victim.module.shown + victim.module.differentiated
    victim.module.shown = victim.module.differentiated = 0
    curve = budget_curve(four, budgets, victim, x, y, falling=True)
    assert torch.equal(torch.stack([result.success for result in curve]), separate)
    assert calls >= 3 * (victim.module.shown + victim.module.differentiated)


@pytest.mark.parametrize("attack", [*ATTACKS.values(), PGD(norm="l2", steps=4), AffineAttack(steps=4)], ids=repr)
def test_falling_budgets_hold_and_rows_are_what_the_victim_says(lab, attack):
    victim, x, y = setting(lab)
    budgets = {"bias-field": BUDGETS["bias-field"], "affine": [0.1, 0.3, 0.6, 1.0]}.get(attack.name, BUDGETS["pgd"])
    curve = budget_curve(attack, budgets, victim, x, y, falling=True)
    for budget, result in zip(budgets, curve, strict=True):
        assert torch.equal(lab.answers(victim, result.images), result.predictions)
        assert torch.equal(result.predictions == y, result.robust)
        assert float(result.distance.max()) <= budget
        again = attack.with_budget(budget).perturbation.apply(x, result.parameters, victim.bounds)
        assert torch.allclose(again, result.images, atol=1e-6)
        assert (result.status[:4] == Status.ALREADY_WRONG).all()
    for before, after in pairwise(curve):
        assert bool((after.success | ~before.success).all())
    assert curve[0].robust_accuracy > curve[-1].robust_accuracy


FALLING = [name for name, kind in ATTACKS_BY_NAME.items() if issubclass(kind, BudgetedAttack) and name != "auto-attack"]


@pytest.mark.parametrize("name", FALLING)
def test_falling_budgets_hold_for_every_attack(lab, name):
    victim, x, y = setting(lab, 16)
    attack = ATTACKS_BY_NAME[name]()
    options = {"steps": 6} if "steps" in {item.name for item in fields(attack)} and name != "fgsm" else {}
    options |= {"queries": 30} if name == "square" else {}
    attack = replace(attack, **options)
    largest, least = MODERATE.get(name, 0.2), 1.0 if attack.budget_field in ("gain", "gamma") else 0.0
    budgets = [least + (largest - least) * share for share in (0.25, 0.5, 1.0)]
    curve = budget_curve(attack, budgets, victim, x, y, falling=True)
    for budget, result in zip(budgets, curve, strict=True):
        again = attack.with_budget(budget).perturbation
        assert torch.equal(lab.answers(victim, result.images), result.predictions)
        assert torch.equal(result.predictions == y, result.robust)
        assert float(result.distance.max()) <= budget
        assert torch.equal(again.distance(x, result.parameters, victim.bounds), result.distance)
        torch.testing.assert_close(again.apply(x, result.parameters, victim.bounds), result.images)
    for smaller, larger in pairwise(curve):
        assert bool((larger.success | ~smaller.success).all())


def test_falling_budgets_find_what_rising_ones_find(lab):
    victim, x, y = setting(lab)
    attack = PGD(steps=20)
    rising = budget_curve(attack, BUDGETS["pgd"], victim, x, y)
    falling = budget_curve(attack, BUDGETS["pgd"], victim, x, y, falling=True)
    for one, other in zip(rising, falling, strict=True):
        assert torch.equal(one.status, other.status)


def test_falling_budgets_keep_near_finds_and_members_of_an_ensemble(lab):
    victim, x, y = setting(lab)
    # FAB alone succeeds, and what it finds lies within smaller budgets, too: they cost nothing.
    curve = budget_curve(
        Ensemble((PGD(steps=1, step_size=1e-6, random_start=False), FAB("linf", steps=20))),
        [0.2, 0.4],
        victim,
        x,
        y,
        falling=True,
    )
    near = curve[1].success & (curve[1].distance <= 0.2)
    assert near.sum() > 10
    assert int(curve[0].forwards[near].sum()) == 0
    assert torch.equal(curve[0].images[near], curve[1].images[near])
    assert set(curve[0].member[curve[0].success].tolist()) == {1}
    assert (curve[0].member[~curve[0].success] == -1).all()


def test_falling_budgets_keep_the_goal(lab):
    victim, x, y = setting(lab)
    attack = PGD(steps=10, objective=Targeted("least likely"))
    goals = attack.objective.goals(victim(x).detach(), y)
    for result in budget_curve(attack, BUDGETS["pgd"], victim, x, y, falling=True):
        assert torch.equal(result.predictions[result.success], goals[result.success])


def test_falling_results_do_not_depend_on_batch_or_order(lab):
    victim, x, y = setting(lab, 40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(40) + 100
    whole = budget_curve(ATTACKS["pgd"], [0.01, 0.03, 0.1], victim, x, y, ids, falling=True)
    mixed = budget_curve(ATTACKS["pgd"], [0.01, 0.03, 0.1], victim, x[order], y[order], ids[order], falling=True)
    parts = [
        budget_curve(ATTACKS["pgd"], [0.01, 0.03, 0.1], victim, x[r], y[r], ids[r], falling=True)
        for r in torch.arange(40).split(7)
    ]
    for number, result in enumerate(whole):
        assert torch.equal(mixed[number].images, result.images[order])
        assert torch.equal(torch.cat([part[number].images for part in parts]), result.images)
        assert torch.equal(torch.cat([part[number].forwards for part in parts]), result.forwards)


def test_falling_must_be_a_flag(lab):
    victim, x, y = setting(lab, 5)
    with pytest.raises(TypeError, match="falling must be True or False, got 1"):
        budget_curve(PGD(), [0.1], victim, x, y, falling=1)


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
