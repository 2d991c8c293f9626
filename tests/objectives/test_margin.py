import pytest
import torch

from medadv.objectives import Margin
from medadv.objectives.margin import margin_shares


def test_is_the_best_wrong_logit_less_the_right_one():
    logits = torch.tensor([[3.0, 1.0, 2.5], [3.0, 1.0, 2.5], [3.0, 1.0, 2.5]])
    expected = torch.tensor([2.5 - 3.0, 3.0 - 1.0, 3.0 - 2.5])
    assert torch.equal(Margin()(logits, torch.tensor([0, 1, 2])), expected)


def test_is_above_zero_exactly_where_the_answer_is_wrong():
    logits = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(200) % 5
    assert torch.equal(Margin()(logits, targets) > 0, logits.argmax(1) != targets)


def test_works_with_two_classes():
    assert Margin()(torch.tensor([[1.0, 4.0]]), torch.tensor([0])).item() == 3.0


def test_gradient_touches_the_target_and_the_best_other_only():
    logits = torch.tensor([[3.0, 1.0, 2.5, -1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(Margin()(logits, torch.tensor([0])).sum(), logits)
    assert gradient.tolist() == [[-1.0, 0.0, 1.0, 0.0]]


def test_leaves_the_logits_alone():
    logits = torch.randn(3, 4)
    before = logits.clone()
    Margin()(logits, torch.tensor([0, 1, 2]))
    assert torch.equal(logits, before)


def test_several_labels_have_the_margin_of_the_one_nearest_to_wrong():
    logits = torch.tensor([[2.0, -3.0, 0.5], [2.0, -3.0, 0.5]])
    assert Margin()(logits, torch.tensor([[1, 0, 1], [1, 1, 1]])).tolist() == [-0.5, 3.0]


def test_several_labels_are_above_zero_exactly_where_one_is_wrong():
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(200, 4, generator=generator), torch.randint(0, 2, (200, 4), generator=generator)
    wrong = ((logits > 0).long() != targets).any(1)
    assert 0 < int(wrong.sum()) < 200
    assert torch.equal(Margin()(logits, targets) > 0, wrong)


@pytest.mark.parametrize("several", [False, True])
def test_the_shares_are_the_slope_that_autograd_finds(several):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 5, generator=generator).requires_grad_()
    targets = torch.randint(0, 2, (20, 5), generator=generator) if several else torch.arange(20) % 5
    (slope,) = torch.autograd.grad(Margin()(logits, targets).sum(), logits)
    assert torch.equal(margin_shares(logits.detach(), targets), slope)


def test_of_equal_rivals_the_first_has_the_whole_share():
    logits, targets = torch.tensor([[2.0, 1.0, 2.0, 2.0]]), torch.tensor([0])
    assert margin_shares(logits, targets).tolist() == [[-1.0, 0.0, 1.0, 0.0]]
