import pytest
import torch

from medadv.objectives import CrossEntropy, Margin, Situation, Targeted

CLEAN = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
RIGHT = torch.tensor([0, 1])


@pytest.mark.parametrize(("goal", "classes"), [("least likely", [1, 0]), ("most likely", [2, 2]), (2, [2, 2])])
def test_goals(goal, classes):
    assert Targeted(goal).goals(CLEAN, RIGHT).tolist() == classes


def test_the_right_class_is_never_the_goal():
    assert Targeted("most likely").goals(CLEAN, torch.tensor([2, 2])).tolist() == [0, 1]
    assert Targeted("least likely").goals(CLEAN, torch.tensor([1, 0])).tolist() == [2, 2]


def test_is_the_objective_of_the_goal_turned_round():
    goals = torch.tensor([1, 0])
    assert torch.equal(Targeted()(CLEAN, RIGHT), -CrossEntropy()(CLEAN, goals))
    assert torch.equal(Targeted(objective=Margin())(CLEAN, RIGHT), -Margin()(CLEAN, goals))


def test_goals_stay_those_of_the_clean_image():
    now = CLEAN.flip(1)
    blank = torch.zeros(2, 1, 1, 1)
    situation = Situation(blank, blank, None, CLEAN, 0, ask=None)
    assert torch.equal(Targeted().at(now, RIGHT, situation), -CrossEntropy()(now, torch.tensor([1, 0])))


def test_is_above_zero_with_the_margin_exactly_where_the_goal_is_reached():
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(200, dtype=torch.int64)
    assert torch.equal(Targeted(2, Margin())(logits, targets) > 0, logits.argmax(1) == 2)


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (3, "goal must be one of the 3 classes, got 3"),
        (1, "goal must not be the right class of an image, got 1: leave such images out"),
    ],
)
def test_goals_that_cannot_be(goal, words):
    with pytest.raises(ValueError, match=words):
        Targeted(goal).goals(CLEAN, RIGHT)


@pytest.mark.parametrize(
    ("goal", "error", "words"),
    [
        (-1, ValueError, "goal must be at least 0"),
        (1.0, TypeError, "goal must be a whole number"),
        ("best", ValueError, "goal must be one of least likely, most likely, got 'best'"),
    ],
)
def test_wrong_arguments(goal, error, words):
    with pytest.raises(error, match=words):
        Targeted(goal)
