"""C5: the objective leads to a wrong answer, for this task and number of classes."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medadv.attacks import APGD, PGD
from medadv.models import Victim
from medadv.objectives import DLR, CrossEntropy, Margin, Stabilised, Targeted, TargetedDLR
from medadv.sweep.objective_checks import suits_the_classes
from medadv.sweep.plan import Curve
from medadv.sweep.sample import Sample


def sample_of(classes, task="multiclass", count=20, lower=0.0):
    torch.manual_seed(classes)
    logits = 3 * torch.randn(count, classes) - lower
    victim = Victim(nn.Identity().eval(), task=task)
    return Sample(victim, torch.zeros(count, 1, 4, 4), victim.task.predict(logits), torch.arange(count), logits, 0)


def finding(objective, sample):
    return suits_the_classes([Curve(PGD(objective=objective), (0.1,))], sample)


@dataclass(frozen=True)
class Ratio:
    """DLR as it is written down, which has no third class to divide by where there are two: it takes the last."""

    def __call__(self, logits, targets):
        ordered = logits.sort(dim=1, descending=True).values
        return Margin()(logits, targets) / (ordered[:, 0] - ordered[:, min(2, logits.shape[1] - 1)] + 1e-12)


@dataclass(frozen=True)
class Softmax:
    """Cross-entropy over classes, for labels that are each there or not: the usual mistake."""

    def __call__(self, logits, targets):
        return F.cross_entropy(logits, targets.float(), reduction="none")


@dataclass(frozen=True)
class Backwards:
    def __call__(self, logits, targets):
        return -Margin()(logits, targets)


@dataclass(frozen=True)
class Nothing:
    def __call__(self, logits, targets):
        return logits.new_zeros(len(logits))


@pytest.mark.parametrize("classes", [2, 3, 4, 9])
@pytest.mark.parametrize("objective", [CrossEntropy(), Margin(), DLR(), TargetedDLR(), Stabilised()], ids=repr)
def test_ours_suit_any_number_of_classes(objective, classes):
    assert finding(objective, sample_of(classes)).outcome == "passed"


@pytest.mark.parametrize("objective", [CrossEntropy(), Margin(), DLR()], ids=repr)
def test_ours_suit_labels(objective):
    found = finding(objective, sample_of(5, task="multilabel"))
    assert found.outcome == "passed"
    assert "in 20 of 20 images, with 5 labels" in found.sentence


@pytest.mark.parametrize(
    ("objective", "classes", "replaced"), [(DLR(), 2, 3), (DLR(), 3, 0), (TargetedDLR(), 3, 4), (TargetedDLR(), 4, 0)]
)
def test_a_ratio_that_needs_more_classes_is_said_to_be_replaced(objective, classes, replaced):
    sentence = finding(objective, sample_of(classes)).sentence
    assert (f"(its ratio needs {replaced} classes and is replaced)" in sentence) == bool(replaced)


@pytest.mark.parametrize(
    ("objective", "classes"),
    [(Ratio(), 2), (Backwards(), 3), (Nothing(), 3)],
)
def test_others_that_lead_nowhere_fail(objective, classes):
    found = finding(objective, sample_of(classes))
    assert found.outcome == "failed"
    assert "leads to a wrong answer in 0 of 20 images" in found.sentence
    assert finding(Ratio(), sample_of(3)).outcome == "passed"


def test_a_softmax_over_labels_leads_nowhere_where_there_is_no_finding():
    sample = sample_of(3, "multilabel", lower=3.0)
    healthy = int((sample.targets.sum(dim=1) == 0).sum())
    assert 0 < healthy < len(sample)
    found = finding(Softmax(), sample)
    assert found.outcome == "failed"
    assert f"in {len(sample) - healthy} of 20 images" in found.sentence


def test_one_goal_of_several_is_not_robust_accuracy():
    narrow = finding(Targeted(), sample_of(4))
    assert narrow.outcome == "failed"
    assert "counts only one goal as a success" in narrow.sentence
    assert finding(Targeted(), sample_of(2)).outcome == "passed"


def test_every_attack_is_looked_at():
    curves = [Curve(PGD(), (0.1,)), Curve(APGD(objective=Backwards()), (0.1,))]
    found = suits_the_classes(curves, sample_of(3))
    assert found.outcome == "failed"
    assert found.sentence.startswith("pgd: CrossEntropy leads to a wrong answer in 20 of 20")
    assert "apgd: Backwards leads to a wrong answer in 0 of 20" in found.sentence
