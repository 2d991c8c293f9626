from dataclasses import dataclass

import pytest
import torch
from torch import nn

from medadv.attacks import BIM, FGSM, MIFGSM, BiasFieldAttack, Gradient, StabilisedMedicalAttack
from medadv.attacks.search.clean_pass import clean_pass
from medadv.models import Victim
from medadv.objectives import DLR, Margin, Stabilised, Targeted
from medadv.perturbations import Additive

UNIT = (0.0, 1.0)
FIELDS = ("images", "status", "predictions", "clean_predictions", "loss", "distance", "backwards", "step")
FROM_THE_IMAGE = {
    "fgsm": FGSM(0.05),
    "fgsm l2": FGSM(0.5, "l2", objective=Margin()),
    "bim": BIM(0.02, steps=4, stop_early=False),
    "bim l1": BIM(2.0, "l1", steps=4),
    "mi-fgsm": MIFGSM(0.05, steps=3),
    "targeted": BIM(0.05, steps=4, objective=Targeted()),
    "dlr": BIM(0.05, steps=4, objective=DLR()),
    "stabilised": BIM(0.05, steps=3, objective=Stabilised(Margin(), weight=0.1)),
    "averaged": BIM(0.05, steps=2, gradient=Gradient(scales=2)),
    "paper 2": StabilisedMedicalAttack(0.05, steps=3),
    "bias": BiasFieldAttack(1.4, steps=3, random_start=False),
}


def lab_case(lab, count=40):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (count, 1, 8, 8))
    y = lab.answers(victim, x)
    y[::5] = (y[::5] + 1) % 3
    return victim, x, y


@pytest.mark.parametrize("name", FROM_THE_IMAGE)
def test_a_shared_pass_changes_no_result_and_saves_one(lab, name):
    victim, x, y = lab_case(lab)
    attack = FROM_THE_IMAGE[name]
    shared = attack(victim, x, y)
    apart = attack.run(victim, x, y, None, victim.clean_logits(x, y), clean_forwards=1)
    assert bool(shared.success.any())
    for field in FIELDS:
        assert torch.equal(getattr(shared, field), getattr(apart, field)), field
    for parameter, values in apart.parameters.items():
        assert torch.equal(shared.parameters[parameter], values)
    right = victim.correct(victim(x), y)
    assert torch.equal(apart.forwards - shared.forwards, right.long())


@pytest.mark.parametrize("name", FROM_THE_IMAGE)
def test_results_do_not_depend_on_the_batch(lab, name):
    victim, x, y = lab_case(lab)
    attack = FROM_THE_IMAGE[name]
    whole = attack(victim, x, y)
    for rows in (*torch.arange(40).split(7), torch.tensor([0]), torch.tensor([1]), torch.arange(39, -1, -1)):
        part = attack(victim, x[rows], y[rows], rows)
        for field in ("images", "status", "forwards", "step"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


def test_images_that_are_all_wrong_are_shown_once(lab):
    victim, x, _ = lab_case(lab)
    wrong = (lab.answers(victim, x) + 1) % 3
    victim.module = lab.Counting(victim.module).eval()
    result = FGSM(0.05)(victim, x, wrong)
    assert victim.module.shown == len(x) == int(result.forwards.sum())
    assert torch.equal(result.images, x)


def test_the_clean_image_is_on_record_until_something_better_is_seen(lab):
    victim, _ = lab.linear_victim((1, 4, 4))
    x = lab.images_in(UNIT, (10, 1, 4, 4))
    y = lab.answers(victim, x)
    top = Margin()(victim(x).detach(), y) + 1e-4

    class Overshot:
        """Its gradient at the clean images leads uphill, and every real step far beyond the top."""

        def __call__(self, logits, targets):
            return -((Margin()(logits, targets) - top) ** 2)

    result = FGSM(1e-2, objective=Overshot())(victim, x, y)
    assert result.backwards.tolist() == [1] * 10
    kept = result.robust
    assert bool(kept.any())
    assert torch.equal(result.images[kept], x[kept])
    torch.testing.assert_close(result.loss[kept], Overshot()(victim(x).detach(), y)[kept])


@dataclass(frozen=True)
class Restless(Additive):
    """Its identity is not quite the image."""

    def apply(self, images, parameters, bounds):
        return (super().apply(images, parameters, bounds) * 0.999).clamp(*bounds)


def test_no_pass_is_shared_where_the_identity_changes_the_image(lab):
    victim, x, y = lab_case(lab)
    victim.module = lab.Counting(victim.module).eval()
    assert clean_pass(Restless(0.1), victim, x, y, ()) is None
    assert victim.module.shown == 0

    class Attack(BIM):
        @property
        def perturbation(self):
            return Restless(self.eps)

    attack = Attack(0.05, steps=2)
    found, apart = attack(victim, x, y), attack.run(victim, x, y, None, victim.clean_logits(x, y), clean_forwards=1)
    assert torch.equal(found.images, apart.images)
    assert torch.equal(found.forwards, apart.forwards)


def test_what_check_refuses_is_refused(lab):
    victim, x, y = lab_case(lab)
    attack = FGSM(0.1)
    for images, targets, error, message in (
        (x.double(), y, TypeError, "images must be float32"),
        (x + 1, y, ValueError, "images must lie inside the bounds"),
        (x, y + 3, ValueError, "targets must lie in 0 to 2"),
        (x, y[:-1], ValueError, "targets must have shape"),
        (x, y.int(), TypeError, "targets must be int64"),
        (x.numpy(), y, TypeError, "images must be a torch.Tensor"),
        (x.expand(-1, 2, -1, -1), y, ValueError, "the model cannot read images"),
    ):
        with pytest.raises(error, match=message):
            attack(victim, images, targets)
    with pytest.raises(TypeError, match="ids must be an int64 tensor"):
        attack(victim, x, y, torch.zeros(len(x)))
    probabilities = Victim(nn.Sequential(victim.module, nn.Softmax(dim=1)).eval())
    with pytest.raises(ValueError, match="remove the final softmax"):
        attack(probabilities, x, y)
    with pytest.raises(ValueError, match="eval"):
        attack(Victim(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).train()), x, y)


def test_a_victim_that_the_attack_cannot_see_whole_is_refused(lab):
    victim, x, y = lab_case(lab)

    class Guarded(Victim):
        guarded = True

    class Blind(BIM):
        sees_detectors = False

    with pytest.raises(ValueError, match="looks at a classifier alone"):
        Blind(0.05, steps=2)(Guarded(victim.module), x, y)


def test_images_and_module_are_left_as_they_were(lab):
    victim, x, y = lab_case(lab)
    before = x.clone()
    with torch.inference_mode():
        images = FGSM(0.05)(victim, x, y).images
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert not images.requires_grad
    assert all(parameter.grad is None for parameter in victim.module.parameters())
