import pytest
import torch

from medadv.attacks import FAB, FGSM, PGD, BiasFieldAttack, Square, Status, transfer
from medadv.models import Victim
from medadv.objectives import Margin

UNIT = (0.0, 1.0)


@pytest.mark.parametrize(
    "attack", [PGD(0.1, steps=5, stop_early=False), FAB("l2", steps=5), BiasFieldAttack(1.5, steps=5)]
)
def test_to_itself_it_is_the_attack(lab, attack):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:3] = (y[:3] + 1) % 3
    direct, transferred = attack(victim, x, y), transfer(attack, victim, victim, x, y)
    for name in ("images", "status", "distance", "predictions", "clean_predictions"):
        assert torch.equal(getattr(direct, name), getattr(transferred, name)), name
    for name, values in direct.parameters.items():
        assert torch.equal(values, transferred.parameters[name])


def test_the_victim_decides_and_is_asked_twice(lab):
    surrogate, victim = lab.curved_victim(), lab.curved_victim()
    with torch.no_grad():
        # Another model, but a relative.
        for parameter in victim.module.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    counting = lab.Counting(victim.module).eval()
    victim = Victim(counting, mean=victim.mean, std=victim.std)
    x = lab.images_in(UNIT, (40, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:3] = (y[:3] + 1) % 3
    counting.shown = 0
    attack = PGD(0.05, steps=5, stop_early=False)
    result = transfer(attack, surrogate, victim, x, y, torch.arange(40) + 7)
    assert result.forwards.tolist() == [1] * 3 + [2] * 37
    assert counting.shown == int(result.forwards.sum())
    assert counting.differentiated == int(result.backwards.sum()) == 0
    with torch.no_grad():
        logits = victim(result.images)
    assert torch.equal(logits.argmax(1), result.predictions)
    assert torch.equal(result.predictions != y, result.status != Status.FAILED)
    torch.testing.assert_close(result.loss, Margin()(logits, y))
    # The images are those that were made for the surrogate.
    alone = attack(surrogate, x[3:], y[3:], torch.arange(3, 40) + 7)
    assert torch.equal(result.images[3:], alone.images)
    assert torch.equal(result.distance[3:], alone.distance)
    assert torch.equal(result.images[:3], x[:3])
    assert result.success.any()
    assert result.robust.any()


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize(
    "attack", [PGD(0.05, steps=10), FGSM(0.05, stop_early=False), Square(0.05, queries=20)], ids=repr
)
def test_a_surrogate_may_be_shown_a_few_images_at_once(lab, attack, size):
    surrogate, victim = (lab.curved_victim(seed=seed) for seed in (0, 1))
    x = lab.images_in(UNIT, (40, 1, 8, 8))
    y = lab.answers(surrogate, x)
    whole = transfer(attack, surrogate, victim, x, y)
    few = transfer(attack, surrogate.in_batches_of(size), victim.in_batches_of(size), x, y)
    for name in ("images", "status", "distance", "loss", "predictions", "forwards", "backwards", "step"):
        assert torch.equal(getattr(whole, name), getattr(few, name)), name


def test_all_wrong_already(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (4, 1, 8, 8))
    result = transfer(PGD(0.1), victim, victim, x, (lab.answers(victim, x) + 1) % 3)
    assert result.status.tolist() == [Status.ALREADY_WRONG] * 4
    assert torch.equal(result.images, x)


def test_different_bounds_are_refused(lab):
    victim, other = lab.curved_victim(), lab.curved_victim(bounds=(-1.0, 1.0))
    with pytest.raises(ValueError, match="surrogate must have the bounds of the victim"):
        transfer(PGD(), other, victim, lab.images_in(UNIT, (2, 1, 8, 8)), torch.zeros(2).long())


def test_ids_are_checked(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (4, 1, 8, 8))
    y = lab.answers(victim, x)
    with pytest.raises(TypeError, match="ids must be an int64 tensor, got list"):
        transfer(PGD(), victim, victim, x, y, [0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"ids must have shape \[4\]"):
        transfer(PGD(), victim, victim, x, y, torch.arange(3))
