import pytest
import torch
from torch import nn

from medadv.attacks import HopSkipJump, Status
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.models import Victim
from medadv.models.task import Multiclass

UNIT = (0.0, 1.0)


class AnswersAlone(nn.Module):
    """One-hot answers of another model, and no gradient."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        assert not torch.is_grad_enabled()
        # As float32, as a victim looks at logits.
        logits = self.module(images).float()
        return 10 * nn.functional.one_hot(logits.argmax(1), logits.shape[1]).double()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_answers_are_all_it_needs(lab, norm):
    victim = lab.curved_victim()
    blind = Victim(AnswersAlone(victim.module).eval(), mean=victim.mean, std=victim.std)
    x = lab.images_in(UNIT, (6, 1, 8, 8))
    y = lab.answers(victim, x)
    attack = HopSkipJump(norm, steps=4)
    seen, unseen = attack(victim, x, y), attack(blind, x, y)
    assert torch.equal(seen.images, unseen.images)
    assert torch.equal(seen.distance, unseen.distance)
    assert torch.equal(seen.forwards, unseen.forwards)
    assert unseen.backwards.tolist() == [0] * 6


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_distance_falls_from_step_to_step(lab, norm):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (8, 1, 8, 8))
    y = lab.answers(victim, x)
    runs = [HopSkipJump(norm, steps=steps)(victim, x, y) for steps in (1, 4, 12)]
    assert all(run.success.all() for run in runs)
    means = [float(run.distance.mean()) for run in runs]
    assert means[0] > 1.2 * means[1] > 1.2 * means[2]
    # One walk is the beginning of the other.
    assert bool((runs[1].distance <= runs[0].distance).all())
    assert bool((runs[1].forwards > runs[0].forwards).all())


def test_an_image_without_a_start_stays_clean(lab):
    class Sure(nn.Module):
        def forward(self, images):
            return torch.stack([images.flatten(1).sum(1) + 1e3, images.flatten(1).sum(1)], dim=1)

    x = lab.images_in(UNIT, (3, 1, 6, 6))
    result = HopSkipJump(steps=3)(Victim(Sure().eval()), x, torch.zeros(3).long())
    assert result.status.tolist() == [Status.FAILED] * 3
    assert torch.equal(result.images, x)
    assert result.forwards.tolist() == [1 + 100] * 3


def test_starts_come_in_coarse_grains_too(lab):
    # Noise of single voxels hardly changes the mean brightness; a grain as large as the image does.
    class Bright(nn.Module):
        def forward(self, images):
            brightness = images.flatten(1).mean(1)
            return torch.stack([torch.zeros_like(brightness), 10 * (brightness - 0.9)], dim=1)

    x = lab.images_in(UNIT, (4, 1, 16, 16))
    result = HopSkipJump(steps=10)(Victim(Bright().eval()), x, torch.zeros(4).long())
    assert result.success.all()
    # The shortest way to a mean of 0.9 in L2 is the same rise everywhere, as far as the bounds allow.
    for row in range(4):
        low, high = 0.0, 1.0
        for _ in range(60):
            rise = (low + high) / 2
            low, high = (rise, high) if float((x[row] + rise).clamp(0, 1).mean()) < 0.9 else (low, rise)
        exact = float(((x[row] + high).clamp(0, 1) - x[row]).double().norm())
        assert exact * (1 - 1e-4) <= float(result.distance[row]) <= 1.35 * exact


def test_seed_and_ids_matter(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (4, 1, 8, 8))
    y = lab.answers(victim, x)
    runs = [HopSkipJump(steps=1, seed=seed)(victim, x, y).images for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0], HopSkipJump(steps=1)(victim, x, y, torch.arange(4) + 9).images)
    assert victim.task == Multiclass()


def test_where_all_probes_agree_their_mean_is_the_direction():
    class Bright(nn.Module):
        def forward(self, images):
            brightness = images.flatten(1).mean(1)
            return torch.stack([torch.zeros_like(brightness), brightness - 0.1], dim=1)

    x = torch.zeros(2, 1, 4, 4)
    victim = Victim(Bright().eval())
    hunt = Hunt(victim, x, torch.zeros(2).long(), torch.arange(2), victim(x), torch.zeros(2), "l2")
    reach = torch.full((2,), 1e-3).double()
    (direction,) = HopSkipJump()._direction(hunt, 1, hunt.rows, torch.full_like(x, 0.5), reach)
    torch.testing.assert_close(direction.flatten(1).norm(dim=1), torch.ones(2))
