import pytest
import torch
from torch import nn

from medadv.models import Multilabel, Victim

IMAGES = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]])
LOGITS = torch.tensor([[-1.0, 2.0, -0.5], [1.0, 3.0, -2.0], [-1.0, -1.0, -1.0], [-1.0, 0.0, -3.0]])


class Fixed(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, images):
        return self.outputs[: len(images)]


def victim(outputs=LOGITS, task="multilabel"):
    return Victim(Fixed(outputs).eval(), task=task)


def test_a_finding_is_there_where_its_logit_is_above_zero():
    assert Multilabel().predict(LOGITS).tolist() == [[0, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_an_image_is_right_only_if_all_its_findings_are():
    assert victim().correct(LOGITS, TARGETS).tolist() == [True, False, True, False]


def test_passes_the_door_with_its_logits():
    door = victim()
    assert torch.equal(door.clean_logits(IMAGES, TARGETS), LOGITS)
    assert door.num_classes == 3
    assert door.task == Multilabel()
    assert repr(door) == "Victim(Fixed, task=multilabel, bounds=(0.0, 1.0))"


def test_one_finding_is_enough():
    one = victim(LOGITS[:, :1])
    one.check(IMAGES, TARGETS[:, :1])
    assert one.correct(LOGITS[:, :1], TARGETS[:, :1]).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("targets", "error", "words"),
    [
        (TARGETS.tolist(), TypeError, "targets must be a torch.Tensor, got list"),
        (TARGETS.float(), TypeError, "targets must be int64, 0 or 1 for each label, got torch.float32"),
        (TARGETS[:, 0], ValueError, r"targets must have shape \[4, labels\], got \[4\]"),
        (TARGETS[:3], ValueError, r"targets must have shape \[4, labels\], got \[3, 3\]"),
        (TARGETS[:, :2], ValueError, "targets must have 3 labels per image, as the model, got 2"),
        (TARGETS + 1, ValueError, "targets must be 0 or 1 for each label, got 2"),
        (TARGETS - 1, ValueError, "targets must be 0 or 1 for each label, got -1"),
    ],
)
def test_wrong_targets(targets, error, words):
    with pytest.raises(error, match=words):
        victim().check(IMAGES, targets)


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_other_tasks_refuse_several_labels_and_say_what_to_do(task):
    with pytest.raises(ValueError, match=r'one label per image, got \[4, 3\]: several labels .* task="multilabel"'):
        victim(LOGITS[:, :2], task).check(IMAGES, TARGETS)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (LOGITS[:, 0], r"the model must return logits \[4, labels\], got shape \[4\]"),
        (LOGITS.sigmoid().repeat(1, 2), "outputs for all 4 images lie in .* remove the final sigmoid"),
    ],
)
def test_wrong_outputs(outputs, words):
    targets = torch.zeros(4, outputs.shape[1] if outputs.ndim == 2 else 1, dtype=torch.int64)
    with pytest.raises(ValueError, match=words):
        victim(outputs).check(IMAGES, targets)
