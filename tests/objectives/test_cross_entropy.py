import pytest
import torch

from medadv import objectives
from medadv.objectives import OBJECTIVES, CrossEntropy


def test_equals_the_formula_per_image():
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    targets = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = torch.logsumexp(logits, 1) - logits[torch.arange(6), targets]
    torch.testing.assert_close(CrossEntropy()(logits, targets), expected)


def test_rises_when_the_target_logit_falls():
    logits = torch.tensor([[2.0, 0.0, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(CrossEntropy()(logits, torch.tensor([0])).sum(), logits)
    assert gradient[0, 0] < 0 < gradient[0, 1] < gradient[0, 2]


def test_one_logit_written_as_two_gives_the_binary_cross_entropy():
    z = torch.linspace(-5, 5, 11)
    two = torch.stack([torch.zeros_like(z), z], 1)
    for label in (0, 1):
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            z, torch.full_like(z, float(label)), reduction="none"
        )
        torch.testing.assert_close(CrossEntropy()(two, torch.full((11,), label)), expected)


def test_several_labels_have_the_sum_of_their_binary_cross_entropies():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, dtype=torch.float64, generator=generator) * 3
    targets = torch.randint(0, 2, (6, 4), generator=generator)
    p = logits.sigmoid()
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).sum(1)
    torch.testing.assert_close(CrossEntropy()(logits, targets), expected)


def test_one_label_there_or_not_is_the_binary_case():
    z = torch.linspace(-5, 5, 11).unsqueeze(1)
    two = torch.cat([torch.zeros_like(z), z], 1)
    for label in (0, 1):
        one = CrossEntropy()(z, torch.full((11, 1), label))
        torch.testing.assert_close(one, CrossEntropy()(two, torch.full((11,), label)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_are_values(name):
    kind = OBJECTIVES[name]
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    assert eval(repr(kind()), vars(objectives)) == kind()
