import pytest
import torch

from medadv.attacks import (
    APGD,
    DDN,
    FAB,
    FGSM,
    PGD,
    AdversarialSmoothBiasField,
    BiasFieldAttack,
    BudgetedAttack,
    Ensemble,
    FlowAttack,
    Square,
    Status,
)
from medadv.objectives import DLR, Margin, TargetedDLR

MEMBERS = (FGSM(0.02), PGD(0.02, steps=3, objective=Margin()), APGD(0.02, steps=5, objective=DLR()))


def setting(lab, count=60):
    victim = lab.curved_victim(classes=5)
    x = lab.images_in((0.0, 1.0), (count, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:3] = (y[:3] + 1) % 5
    return victim, x, y


def test_is_the_worst_case_of_each_image(lab):
    victim, x, y = setting(lab)
    result = Ensemble(MEMBERS)(victim, x, y)
    alone = [attack(victim, x, y) for attack in MEMBERS]
    assert torch.equal(result.robust, torch.stack([each.robust for each in alone]).all(0))
    assert result.robust.any()
    assert len({int(each.robust.sum()) for each in alone}) > 1
    done = torch.zeros(60, dtype=torch.bool)
    for each in alone:
        first = each.success & ~done
        assert torch.equal(result.images[first], each.images[first])
        assert torch.equal(result.step[first], each.step[first])
        done |= first
    assert torch.equal(lab.answers(victim, result.images), result.predictions)
    assert torch.equal(result.predictions == y, result.robust)


def test_survivors_only_pass_on_and_passes_add_up(lab):
    victim, x, y = setting(lab)
    victim.module = counting = lab.Counting(victim.module).eval()
    result = Ensemble(MEMBERS)(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    assert set(result.forwards[result.robust].tolist()) == {1 + 2 + 4 + 6}
    assert set(result.forwards[:3].tolist()) == {1}


def test_results_do_not_depend_on_batch_size_or_order(lab):
    victim, x, y = setting(lab)
    ensemble = Ensemble((*MEMBERS, APGD(0.02, steps=5, restarts=4, objective=TargetedDLR())))
    whole = ensemble(victim, x, y)
    for rows in (*torch.arange(60).split(7), torch.arange(60).flip(0)):
        part = ensemble(victim, x[rows], y[rows], rows)
        for field in ("images", "status", "predictions", "forwards", "step"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows])


def test_says_which_member_broke_an_image(lab):
    victim, x, y = setting(lab)
    result = Ensemble(MEMBERS)(victim, x, y)
    alone = torch.stack([attack(victim, x, y).success for attack in MEMBERS])
    first = torch.where(alone.any(0), alone.int().argmax(0), -1)
    assert torch.equal(result.member, first)
    assert len(set(result.member.tolist())) > 2


MIXED = {
    "last": (FGSM(0.02), Square(0.02, queries=20), FAB("linf", steps=6)),
    "between": (FGSM(0.02), FAB("linf", targeted=True, steps=3), PGD(0.02, steps=3)),
    "first": (FAB("linf", steps=2), FGSM(0.02)),
    "l2": (PGD(0.2, "l2", steps=2), DDN(steps=8), FAB("l2", steps=4)),
}


@pytest.mark.parametrize("members", MIXED.values(), ids=MIXED)
@pytest.mark.parametrize("classes", [2, 5])
def test_finds_of_minimum_norm_attacks_count_within_the_budget(lab, members, classes):
    victim = lab.curved_victim(classes=classes)
    x = lab.images_in((0.0, 1.0), (60, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:3] = (y[:3] + 1) % classes
    ensemble = Ensemble(members)
    result = ensemble(victim, x, y)
    alone = [attack(victim, x, y) for attack in members]
    broken = torch.stack([each.success_within(ensemble.budget) for each in alone])
    assert torch.equal(result.success, broken.any(0))
    assert result.robust.any()
    assert all(int(result.robust.sum()) <= int((~one & (y == lab.answers(victim, x))).sum()) for one in broken)
    assert torch.equal(result.member, torch.where(broken.any(0), broken.int().argmax(0), -1))
    for number, each in enumerate(alone):
        mine = result.member == number
        assert torch.equal(result.images[mine], each.images[mine])
        assert torch.equal(result.distance[mine], each.distance[mine])
    # A find that is too far away leaves no trace: a survivor is as the last attack with a budget left it.
    last = [each for attack, each in zip(members, alone, strict=True) if isinstance(attack, BudgetedAttack)][-1]
    assert torch.equal(result.images[result.robust], last.images[result.robust])
    assert float(result.distance.max()) <= ensemble.budget
    assert result.step[~result.success].tolist() == [-1] * int((~result.success).sum())
    assert torch.equal(lab.answers(victim, result.images), result.predictions)
    again = ensemble.perturbation.apply(x, result.parameters, victim.bounds)
    torch.testing.assert_close(again, result.images, rtol=0, atol=1e-7)
    assert torch.equal(result.status == Status.ALREADY_WRONG, torch.arange(60) < 3)


@pytest.mark.parametrize("members", MIXED.values(), ids=MIXED)
def test_passes_of_minimum_norm_attacks_add_up(lab, members):
    victim, x, y = setting(lab)
    victim.module = counting = lab.Counting(victim.module).eval()
    result = Ensemble(members)(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown
    if not any(isinstance(member, FAB) for member in members):  # whose Jacobian is taken at once
        assert int(result.backwards.sum()) == counting.differentiated
    assert set(result.forwards[:3].tolist()) == {1}
    assert int(result.forwards[result.robust].min()) > 3


def test_an_image_that_no_attack_with_a_budget_saw_is_the_clean_one(lab):
    """Where the first member finds all images, but too far away, and the rest are never asked."""
    victim, x, y = setting(lab)
    far = Ensemble((FAB("linf", steps=10), FGSM(1e-6)))._within_the_budget(
        FAB("linf", steps=10)(victim, x, y), x, y, victim.clean_logits(x, y)
    )
    assert far.robust[3:].all()
    assert torch.equal(far.images, x)
    assert torch.equal(far.predictions, far.clean_predictions)
    torch.testing.assert_close(far.loss, Margin()(victim.clean_logits(x, y), y))


def test_is_a_value_with_a_budget():
    assert Ensemble(MEMBERS) == Ensemble(list(MEMBERS))
    assert hash(Ensemble(MEMBERS)) == hash(Ensemble(MEMBERS))
    assert Ensemble(MEMBERS).budget == 0.02
    wider = Ensemble(MEMBERS).with_budget(0.5)
    assert [attack.budget for attack in wider.attacks] == [0.5] * 3
    mixed = Ensemble((FAB("linf"), PGD(0.1)))
    assert mixed.budget == 0.1
    assert mixed.with_budget(0.5) == Ensemble((FAB("linf"), PGD(0.5)))
    assert mixed.configuration() == {"name": "ensemble", "attacks": repr(mixed.attacks)}
    assert eval(repr(mixed)) == mixed


@pytest.mark.parametrize(
    ("attacks", "error", "words"),
    [
        ((), ValueError, "attacks must not be empty"),
        ((PGD, PGD()), TypeError, "attacks must hold attacks such as PGD"),
        ((FAB("linf"),), ValueError, "attacks must hold one with a budget"),
        ((PGD(0.1), FAB("l2")), ValueError, "attacks must change the same, .* least l2 norm"),
        ((FlowAttack(0.1), FAB("l2")), ValueError, "attacks must change the same, .* least l2 norm"),
        ((AdversarialSmoothBiasField(1.3), BiasFieldAttack(1.3)), ValueError, "attacks must change the same within"),
        ((PGD(0.1), PGD(0.2)), ValueError, "attacks must change the same within the same budget"),
        ((PGD(0.1), PGD(0.1, "l2")), ValueError, "attacks must change the same within the same budget"),
    ],
)
def test_wrong_arguments(attacks, error, words):
    with pytest.raises(error, match=words):
        Ensemble(attacks)
