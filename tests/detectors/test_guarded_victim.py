import pytest
import torch
from torch import nn

from medadv.detectors import Guarded, GuardedVictim
from medadv.models import Multiclass, RandomisedVictim, Victim


class Brightness:
    """Detects images whose first pixel is brighter than 0.5."""

    layers, threshold, unit = ("0",), 0.5, 0.25

    def score(self, features):
        return features["0"][:, 0]


def network(outputs=3, shape=None):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, outputs))
    return (nn.Sequential(*net, nn.Flatten(0)) if shape == "flat" else net).eval()


def images():
    x = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    x[:4, 0, 0, 0], x[4:, 0, 0, 0] = 0.25, 0.75
    return x


DETECTED = torch.tensor([False] * 4 + [True] * 4)


def test_logits_answers_and_what_is_right():
    victim = Victim(network(), std=2.0)
    guarded = GuardedVictim(victim, Bright2())
    y = victim(images()).argmax(1)
    y[::2] = (y[::2] + 1) % 3
    logits = guarded.clean_logits(images(), y)
    assert torch.equal(logits[:, :3], victim(images()))
    torch.testing.assert_close(logits[:, 3].detach(), torch.where(DETECTED, 1.0, -1.0))
    assert guarded.rejection == 3
    assert torch.equal(guarded.rejected(logits), DETECTED)
    assert torch.equal(guarded.task.predict(logits), torch.where(DETECTED, 3, victim(images()).argmax(1)))
    assert torch.equal(guarded.correct(logits, y), DETECTED | (victim(images()).argmax(1) == y))
    assert not any(part._forward_hooks for part in victim.module.modules())


class Bright2(Brightness):
    """The features are those that the network sees, divided by the standard deviation."""

    threshold, unit = 0.25, 0.125


@pytest.mark.parametrize("outputs", [1, 2, "flat"])
def test_binary(outputs):
    net = network(1, "flat") if outputs == "flat" else network(outputs)
    guarded = GuardedVictim(Victim(net, task="binary"), Brightness())
    logits = guarded.clean_logits(images(), torch.zeros(8, dtype=torch.int64))
    assert logits.shape == (8, 3)
    assert torch.equal(logits[:, :2], guarded.task.task.logits(net(images())))
    assert torch.equal(guarded.task.predict(logits) == 2, DETECTED)


def test_multilabel():
    guarded = GuardedVictim(Victim(network(4), task="multilabel"), Brightness())
    y = (network(4)(images()) > 0).long()
    y[0, 0] = 1 - y[0, 0]
    y[5, 1] = 1 - y[5, 1]
    logits = guarded.clean_logits(images(), y)
    answers = guarded.task.predict(logits)
    assert answers.shape == (8, 5)
    assert torch.equal(answers[:, 4].bool(), DETECTED)
    assert guarded.correct(logits, y).tolist() == [False] + [True] * 7


def test_half_precision_and_volumes():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).bfloat16().eval()
    x = torch.rand(4, 1, 4, 4, 4)
    guarded = GuardedVictim(Victim(net), Brightness())
    logits = guarded.clean_logits(x, torch.zeros(4, dtype=torch.int64))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits[:, 3], (x[:, 0, 0, 0, 0].bfloat16().float() - 0.5) / 0.25)


def test_the_door_is_that_of_the_classifier():
    guarded = GuardedVictim(Victim(network()), Brightness())
    with pytest.raises(ValueError, match=r"targets must lie in 0 to 2 \(3 classes\), got 3"):
        guarded.check(images(), torch.full((8,), 3))
    softmax = nn.Sequential(*network(), nn.Softmax(1)).eval()
    with pytest.raises(ValueError, match="remove the final softmax"):
        GuardedVictim(Victim(softmax), Brightness()).check(images(), torch.zeros(8, dtype=torch.int64))
    assert repr(guarded) == "GuardedVictim(Sequential, task=guarded multiclass, bounds=(0.0, 1.0))"
    assert guarded.task == Guarded(Multiclass())


class Lost(Brightness):
    def score(self, features):
        return features["0"][:, 0] * torch.nan


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="must return finite logits, got NaN or infinity"):
        GuardedVictim(Victim(network()), Lost()).check(images(), torch.zeros(8, dtype=torch.int64))


def test_wrong_arguments():
    with pytest.raises(TypeError, match="victim must be a Victim, got Sequential"):
        GuardedVictim(network(), Brightness())
    guarded = GuardedVictim(Victim(network()), Brightness())
    for victim in (guarded, RandomisedVictim(network())):
        with pytest.raises(ValueError, match="victim must be neither randomised nor guarded"):
            GuardedVictim(victim, Brightness())
    with pytest.raises(ValueError, match="known after the first answer"):
        _ = guarded.rejection
