import pytest
import torch

from medadv.attacks import PGD
from medadv.attacks.record import Record
from medadv.attacks.result import Status
from medadv.models import Victim


def record(count=2):
    images = torch.zeros(count, 1, 2, 2)
    right = torch.zeros(count, dtype=torch.bool)
    return Record(images, {"noise": torch.zeros_like(images)}, torch.zeros(count), right.long(), right, forwards=1)


def see(kept, rows, step, value, loss, wrong):
    """Images of one value, as a search shows them."""
    rows, images = torch.tensor(rows), torch.full((len(rows), 1, 2, 2), value)
    answers = torch.tensor(wrong)
    kept.see(rows, step, images, {"noise": images}, torch.tensor(loss), answers.long(), answers)
    return images


@pytest.mark.parametrize("first", [0, 1])
def test_a_wrong_answer_is_not_given_up_for_a_right_one_with_a_higher_loss(first):
    kept = record()
    see(kept, [0, 1], first, 1.0, [0.5, 0.5], [True, False])
    see(kept, [0, 1], 2, 2.0, [9.0, 9.0], [False, False])
    result = kept.result(torch.zeros(2))
    assert result.images[:, 0, 0, 0].tolist() == [1.0, 2.0]
    assert result.success.tolist() == [True, False]
    assert result.step.tolist() == [first, -1]


def test_what_was_lent_is_never_written_to():
    kept = record()
    lent = see(kept, [0, 1], 1, 1.0, [0.5, 0.5], [False, False])
    see(kept, [1], 2, 2.0, [0.7], [True])
    assert torch.equal(lent, torch.ones_like(lent))
    assert kept.images[:, 0, 0, 0].tolist() == [1.0, 2.0]
    assert kept.parameters["noise"][:, 0, 0, 0].tolist() == [1.0, 2.0]
    assert kept.forwards.tolist() == [2, 3]


def test_what_was_lent_after_a_row_was_written_is_never_written_to():
    kept = record()
    see(kept, [1], 1, 1.0, [0.5], [False])
    lent, answers = torch.full((2, 1, 2, 2), 2.0), torch.tensor([False, False])
    loss, predictions = torch.tensor([0.6, 0.6]), torch.tensor([3, 4])
    kept.see(torch.tensor([0, 1]), 2, lent, {"noise": lent}, loss, predictions, answers)
    see(kept, [0], 3, 3.0, [0.7], [True])
    assert kept.images[:, 0, 0, 0].tolist() == [3.0, 2.0]
    assert torch.equal(lent, torch.full_like(lent, 2.0))
    torch.testing.assert_close(loss, torch.tensor([0.6, 0.6]))
    assert predictions.tolist() == [3, 4]


def test_a_result_shares_no_memory_with_the_images_of_the_caller():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    images = torch.full((3, 1, 4, 4), 0.5)
    result = PGD(0.1, steps=2)(Victim(net), images, (net(images).argmax(1) + 1) % 3)
    assert (result.status == Status.ALREADY_WRONG).all()
    result.images.zero_()
    assert torch.equal(images, torch.full_like(images, 0.5))


def test_a_wrong_answer_is_better_than_a_right_one_with_a_higher_loss():
    kept = record(3)
    see(kept, [0, 1, 2], 1, 1.0, [5.0, 5.0, 5.0], [False, False, False])
    see(kept, [0, 1, 2], 2, 2.0, [1.0, 1.0, 6.0], [True, False, False])  # the first find
    see(kept, [0, 1, 2], 3, 3.0, [9.0, 2.0, 1.0], [False, True, False])  # and a later one
    result = kept.result(torch.zeros(3))
    assert result.images[:, 0, 0, 0].tolist() == [2.0, 3.0, 2.0]
    assert result.loss.tolist() == [1.0, 2.0, 6.0]
    assert result.success.tolist() == [True, True, False]
    assert result.step.tolist() == [2, 3, -1]


class Flat(torch.nn.Module):
    """Answers everything alike, so that no image has a higher loss than the clean one."""

    def forward(self, images):
        return torch.tensor([[3.0, -1.0]]) + 0 * images.flatten(1)[:, :2]


def test_the_first_image_seen_replaces_a_clean_one_beside_images_that_are_wrong_already():
    images, targets = torch.full((4, 1, 4, 4), 0.5), torch.tensor([0, 1, 0, 1])
    result = PGD(0.1, steps=2)(Victim(Flat().eval()), images, targets)
    assert (result.images != images).flatten(1).any(1).tolist() == [True, False, True, False]
    assert result.status.tolist() == [Status.FAILED, Status.ALREADY_WRONG] * 2
