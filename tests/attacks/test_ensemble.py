import pytest
import torch

from medadv.attacks import APGD, FGSM, PGD, Ensemble
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


def test_is_a_value_with_a_budget():
    assert Ensemble(MEMBERS) == Ensemble(list(MEMBERS))
    assert hash(Ensemble(MEMBERS)) == hash(Ensemble(MEMBERS))
    assert Ensemble(MEMBERS).budget == 0.02
    wider = Ensemble(MEMBERS).with_budget(0.5)
    assert [attack.budget for attack in wider.attacks] == [0.5] * 3


@pytest.mark.parametrize(
    ("attacks", "error", "words"),
    [
        ((), ValueError, "attacks must not be empty"),
        ((PGD, PGD()), TypeError, "attacks must hold attacks such as PGD"),
        ((PGD(0.1), PGD(0.2)), ValueError, "attacks must change the same within the same budget"),
        ((PGD(0.1), PGD(0.1, "l2")), ValueError, "attacks must change the same within the same budget"),
    ],
)
def test_wrong_arguments(attacks, error, words):
    with pytest.raises(error, match=words):
        Ensemble(attacks)
