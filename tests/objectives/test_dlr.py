import pytest
import torch

from medadv.objectives import DLR, Margin, Situation, TargetedDLR
from medadv.objectives.dlr import wrong_classes


def logits(classes, count=50, dtype=torch.float64):
    return torch.randn(count, classes, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 3


def labels(classes, count=50):
    return torch.arange(count) % classes


def situation(clean_logits, restart):
    blank = torch.zeros(len(clean_logits), 1, 1, 1)
    return Situation(blank, blank, None, clean_logits, restart, ask=None)


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_equals_the_formula_of_the_paper(classes):
    z, y = logits(classes), labels(classes)
    expected = []
    for row, label in zip(z.tolist(), y.tolist(), strict=True):
        first, _, third = sorted(row, reverse=True)[:3]
        other = max(value for number, value in enumerate(row) if number != label)
        expected.append(-(row[label] - other) / (first - third))
    torch.testing.assert_close(DLR()(z, y), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("classes", [4, 10])
def test_targeted_equals_the_formula_of_the_paper(classes):
    z, y = logits(classes), labels(classes)
    for restart in range(classes - 1):
        expected = []
        for row, label in zip(z.tolist(), y.tolist(), strict=True):
            ordered = sorted(row, reverse=True)
            wrong = sorted((value for number, value in enumerate(row) if number != label), reverse=True)
            divisor = ordered[0] - (ordered[2] + ordered[3]) / 2
            expected.append(-(row[label] - wrong[restart]) / divisor)
        found = TargetedDLR().at(z, y, situation(z, restart))
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("objective", [DLR(), TargetedDLR()])
@pytest.mark.parametrize("classes", [3, 4, 10])
@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (1e4, 0.0), (1.0, 100.0), (7.0, -3.0)])
def test_scale_and_shift_of_the_logits_play_no_part(objective, classes, scale, shift):
    z, y = logits(classes), labels(classes)
    torch.testing.assert_close(objective(z * scale + shift, y), objective(z, y), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("objective", [DLR(), TargetedDLR()])
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_is_above_zero_only_where_the_answer_is_wrong(objective, classes):
    z, y = logits(classes, 200), labels(classes, 200)
    wrong = z.argmax(1) != y
    if isinstance(objective, DLR):
        assert torch.equal(objective(z, y) > 0, wrong)
    assert not (objective(z, y) > 0)[~wrong].any()


@pytest.mark.parametrize("objective", [DLR(), TargetedDLR()])
def test_two_classes_have_no_ratio_left_but_a_margin_with_a_gradient(objective):
    z, y = logits(2).requires_grad_(), labels(2)
    torch.testing.assert_close(objective(z, y), Margin()(z, y))
    (gradient,) = torch.autograd.grad(objective(z, y).sum(), z)
    assert bool((gradient.abs().sum(1) > 0).all())


def test_three_classes_are_aimed_at_too():
    z = torch.tensor([[3.0, 1.0, 2.0]])
    assert TargetedDLR()(z, torch.tensor([0])).item() == pytest.approx((2 - 3) / (3 - 1))
    assert TargetedDLR().at(z, torch.tensor([0]), situation(z, 1)).item() == pytest.approx((1 - 3) / (3 - 1))


def test_labels_that_are_each_there_or_not_have_their_margin():
    z = logits(5)
    targets = (logits(5).roll(1, 0) > 0).long()
    assert torch.equal(DLR()(z, targets), Margin()(z, targets))


def test_wrong_classes_take_turns_by_their_logit_at_the_clean_image():
    clean = torch.tensor([[0.0, 4.0, 3.0, 2.0, 1.0]])
    now = torch.tensor([[9.0, 1.0, 2.0, 3.0, 5.0]])
    y = torch.tensor([1])
    divisor = 9.0 - (3.0 + 2.0) / 2
    for classes, turns in [(9, [2, 3, 4, 0, 2, 3]), (2, [2, 3, 2, 3])]:
        for restart, goal in enumerate(turns):
            found = TargetedDLR(classes).at(now, y, situation(clean, restart))
            assert found.item() == pytest.approx((now[0, goal] - 1.0).item() / divisor)


def test_equal_logits_give_a_finite_value_and_gradient():
    z = torch.zeros(2, 4, requires_grad=True)
    for objective in (DLR(), TargetedDLR()):
        value = objective(z, torch.tensor([0, 1]))
        (gradient,) = torch.autograd.grad(value.sum(), z)
        assert bool(torch.isfinite(value).all())
        assert bool(torch.isfinite(gradient).all())


def test_wrong_classes_in_order():
    assert wrong_classes(torch.tensor([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0]]), torch.tensor([1, 1])).tolist() == [
        [2, 0],
        [0, 2],
    ]
    with pytest.raises(ValueError, match="a goal among the classes needs one label per image"):
        wrong_classes(torch.zeros(2, 3), torch.zeros(2, 3).long())


@pytest.mark.parametrize(("classes", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_wrong_arguments(classes, error):
    with pytest.raises(error, match="classes must be"):
        TargetedDLR(classes)
