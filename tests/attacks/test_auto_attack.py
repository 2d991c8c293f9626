import sys

import pytest
import torch

from medadv.attacks import APGD, FAB, AutoAttack, Ensemble, Square, auto_attack, budget_curve
from medadv.models import Victim
from medadv.objectives import TargetedDLR


def shortened(ensemble):
    """The same attacks with fewer steps."""
    ce, targeted, fab, square = ensemble.attacks
    return Ensemble(
        (
            APGD(ce.eps, ce.norm, steps=5),
            APGD(targeted.eps, targeted.norm, steps=5, restarts=targeted.restarts, objective=targeted.objective),
            FAB(fab.norm, fab.targeted, fab.classes, steps=4),
            Square(square.eps, square.norm, queries=30),
        )
    )


def test_has_the_constants_of_the_paper():
    assert auto_attack(0.1, "l2", seed=3).attacks == (
        APGD(0.1, "l2", steps=100, seed=3),
        APGD(0.1, "l2", steps=100, restarts=9, objective=TargetedDLR(9), seed=3),
        FAB("l2", targeted=True, classes=10, steps=100, seed=3),
        Square(0.1, "l2", queries=5000, share=0.8, seed=3),
    )
    assert auto_attack() == auto_attack(8 / 255, "linf", 1000)
    assert auto_attack().with_budget(0.1) == auto_attack(0.1)


@pytest.mark.parametrize(("classes", "goals"), [(2, 1), (3, 2), (4, 3), (10, 9), (11, 9)])
def test_every_wrong_class_is_a_goal_once(classes, goals):
    _, targeted, fab, _ = auto_attack(classes=classes).attacks
    assert targeted.restarts == targeted.objective.classes == goals
    assert fab.classes == goals + 1


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.01), ("l2", 0.06)])
def test_is_the_worst_case_of_its_members(lab, classes, norm, eps):
    """One logit too."""
    victim, _ = lab.linear_victim((1, 6, 6), classes=classes)
    victim = Victim(victim.module, task="binary" if classes == 1 else "multiclass")
    x = lab.images_in((0.0, 1.0), (40, 1, 6, 6))
    y = lab.answers(victim, x)
    attack = shortened(auto_attack(eps, norm, max(classes, 2)))
    result = attack(victim, x, y)
    alone = torch.stack([each(victim, x, y).success_within(eps) for each in attack.attacks])
    assert torch.equal(result.success, alone.any(0))
    assert result.success.any()
    assert result.robust.any()
    assert float(result.distance.max()) <= eps


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("classes", [2, 4])
def test_breaks_all_that_can_be_broken_of_a_linear_model(lab, norm, classes):
    """Exactly: an image breaks where the nearest boundary, in the dual norm, is within the radius."""
    victim, weights = lab.linear_victim((1, 6, 6), classes=classes)
    x = 0.4 + 0.2 * lab.images_in((0.0, 1.0), (30, 1, 6, 6))
    y = lab.answers(victim, x)
    with torch.no_grad():
        logits = victim(x).double()
    slopes = weights.flatten(1)[None] - weights.flatten(1)[y][:, None]
    steepness = slopes.abs().sum(2) if norm == "linf" else slopes.norm(dim=2)
    gaps = logits.gather(1, y[:, None]) - logits
    needed = (gaps / steepness).scatter(1, y[:, None], torch.inf).amin(1)
    eps = float(needed.sort().values[14:16].mean())
    clear = (needed / eps - 1).abs() > 0.01
    attack = auto_attack(eps, norm, classes)
    quick = Ensemble((*attack.attacks[:3], Square(eps, norm, queries=50)))
    result = quick(victim, x, y)
    assert torch.equal(result.success[clear], (needed < eps)[clear])


def test_survivors_alone_are_passed_on(lab):
    victim = lab.curved_victim(classes=3)
    victim.module = counting = lab.Counting(victim.module).eval()
    x = lab.images_in((0.0, 1.0), (40, 1, 8, 8))
    y = lab.answers(victim, x)
    counting.shown = 0
    result = shortened(auto_attack(0.02, classes=3))(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown
    at_first = result.member == 0
    assert int(result.forwards[at_first].max()) <= 1 + 6
    # APGD, and again for two goals; FAB two looks a step and goal, but for the second at the clean image, and three at
    # the end for what it found; Square.
    apgd, fab, square = 6 + 2 * 6, 2 * 2 * 4 - 1, 30
    assert {int(count) - 1 - apgd - fab - square for count in result.forwards[result.robust]} <= {0, 3}


def test_whole(lab):
    """With all its steps, on few images; a curve of it too."""
    victim, _ = lab.linear_victim((1, 4, 4), classes=2)
    x = lab.images_in((0.0, 1.0), (4, 1, 4, 4))
    y = lab.answers(victim, x)
    curve = [auto_attack(eps, classes=2)(victim, x, y).robust_accuracy for eps in (0.0, 1.0)]
    assert curve == [1.0, 0.0]


def test_curves_over_budgets(lab):
    victim = lab.curved_victim(classes=3)
    x = lab.images_in((0.0, 1.0), (40, 1, 8, 8))
    y = lab.answers(victim, x)
    attack = shortened(auto_attack(0.1, classes=3))
    results = budget_curve(attack, [0.005, 0.02, 0.5], victim, x, y)
    shares = [result.robust_accuracy for result in results]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]
    assert torch.equal(results[-1].member >= 0, results[-1].success)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"norm": "l1"}, ValueError, "norm must be one of linf, l2"),
        ({"eps": -1}, ValueError, "eps must be at least 0"),
        ({"classes": 1}, ValueError, "classes must be at least 2"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        auto_attack(**arguments)


def test_as_one_value_it_takes_the_number_of_classes_from_the_victim(lab, monkeypatch):
    asked = []

    def short(eps, norm, classes, seed):
        asked.append((eps, norm, classes, seed))
        return shortened(auto_attack(eps, norm, classes, seed))

    # The package has the function under the name of the module.
    monkeypatch.setattr(sys.modules["medadv.attacks.auto_attack"], "auto_attack", short)
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    y = lab.answers(victim, x)
    found = AutoAttack(0.02, "l2", seed=5)(victim, x, y)
    assert asked == [(0.02, "l2", victim.num_classes, 5)]
    expected = shortened(auto_attack(0.02, "l2", victim.num_classes, 5))(victim, x, y)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.forwards, expected.forwards)
    with pytest.raises(ValueError, match="AutoAttack needs one label per image"):
        AutoAttack().run(victim, x, torch.zeros(6, 3, dtype=torch.int64), None, victim(x).detach())
