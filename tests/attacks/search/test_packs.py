import pytest
import torch
from torch import nn

from medadv.attacks import (
    APGD,
    DDN,
    FAB,
    FGSM,
    FMN,
    PGD,
    VMIFGSM,
    ADef,
    AffineAttack,
    CarliniWagner,
    ChainAttack,
    DeepFool,
    Ensemble,
    Gradient,
    HopSkipJump,
    RandomNoise,
    Square,
    StabilisedMedicalAttack,
)
from medadv.detectors import GaussianDetector, GuardedVictim
from medadv.models import RandomisedVictim
from medadv.objectives import CrossEntropy, Targeted, Undetected

UNIT = (0.0, 1.0)
FIELDS = ("images", "status", "predictions", "loss", "distance", "forwards", "backwards", "step")
ATTACKS = {
    "pgd": PGD(0.02, steps=5, restarts=2),
    "to the end": PGD(0.02, steps=3, stop_early=False),
    "targeted": PGD(0.03, steps=3, objective=Targeted()),
    "fgsm": FGSM(0.03),
    "apgd l1": APGD(1.0, "l1", steps=6),
    "stabilised": StabilisedMedicalAttack(0.03, steps=3),
    "averaged": PGD(0.02, steps=3, gradient=Gradient(scales=2)),
    "neighbours": VMIFGSM(0.03, steps=3),
    "affine": AffineAttack(steps=3, restarts=2),
    "chain": ChainAttack(steps=2),
    "square": Square(0.03, queries=20),
    "noise": RandomNoise(0.1, draws=4),
    "decisions": HopSkipJump(steps=2, probes=20),
    "deepfool": DeepFool(steps=5),
    "fab": FAB("l1", steps=3),
    "fab-t": FAB("linf", targeted=True, steps=2, restarts=2),
    "ddn": DDN(steps=6),
    "ddn, cross-entropy": DDN(steps=6, objective=CrossEntropy()),
    "fmn": FMN("l1", steps=6),
    "fmn l0": FMN("l0", steps=6),
    "carlini-wagner": CarliniWagner(weight=1.0, searches=3, steps=12),
    "adef": ADef(steps=5),
    "ensemble": Ensemble((PGD(0.01, steps=3), FAB("linf", targeted=True, steps=3), Square(0.01, queries=10))),
}


class Watching(nn.Module):
    """Notes how many images it is shown at once."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.counts = []

    def forward(self, images):
        self.counts.append(len(images))
        return self.module(images)


def watched(lab, count=40):
    victim = lab.curved_victim()
    victim.module = Watching(victim.module).eval()
    x = lab.images_in(UNIT, (count, 1, 8, 8))
    y = lab.answers(victim, x)
    y[::9] = (y[::9] + 1) % 3
    victim.module.counts.clear()
    return victim, x, y


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("name", ATTACKS)
def test_results_do_not_depend_on_how_many_are_shown_at_once(lab, name, size):
    victim, x, y = watched(lab)
    whole = ATTACKS[name].run(victim, x, y, None, victim.clean_logits(x, y))
    assert max(victim.module.counts) > 7
    victim.module.counts.clear()
    few = victim.in_batches_of(size)
    packed = ATTACKS[name].run(few, x, y, None, few.clean_logits(x, y))
    assert max(victim.module.counts) == size
    for field in FIELDS:
        assert torch.equal(getattr(packed, field), getattr(whole, field)), field
    for parameter, values in whole.parameters.items():
        assert torch.equal(packed.parameters[parameter], values)


def test_survivors_are_packed_anew(lab):
    victim, x, y = watched(lab, 64)
    attack = PGD(0.03, steps=10)
    few = victim.in_batches_of(8)
    logits = few.clean_logits(x, y)
    victim.module.counts.clear()
    result = attack.run(few, x, y, None, logits)
    together = len(victim.module.counts)
    shown_at = torch.tensor([int((result.forwards > step).sum()) for step in range(11)])
    assert int(result.success.sum()) > 10
    assert together == int(((shown_at + 7) // 8).sum())
    victim.module.counts.clear()
    for rows in torch.arange(64).split(8):
        attack.run(victim, x[rows], y[rows], rows, logits[rows])
    assert together < len(victim.module.counts)


@pytest.mark.parametrize("name", ["deepfool", "carlini-wagner", "adef", "ensemble"])
def test_what_is_left_is_packed_anew_where_the_smallest_change_is_looked_for_and_in_ensembles(lab, name):
    victim, x, y = watched(lab, 64)
    few = victim.in_batches_of(8)
    logits = few.clean_logits(x, y)
    calls = []
    for parts in ([torch.arange(64)], torch.arange(64).split(8)):
        victim.module.counts.clear()
        results = [ATTACKS[name].run(few, x[rows], y[rows], rows, logits[rows]) for rows in parts]
        calls.append(len(victim.module.counts))
        # Every image that is counted is shown.
        assert sum(victim.module.counts) == sum(int(result.forwards.sum()) for result in results)
    together, apart = calls
    assert together < apart


def test_random_numbers_and_detectors_are_the_same_in_packs(lab):
    victim, x, y = watched(lab)
    noisy = RandomisedVictim(nn.Sequential(nn.Dropout(0.1), victim.module).eval(), draws=3)
    noisy.module[0].train()
    attack = PGD(0.03, steps=3, gradient=Gradient(samples=2))
    logits = noisy.clean_logits(x, y)
    whole, packed = (attack.run(each, x, y, None, logits) for each in (noisy, noisy.in_batches_of(7)))
    assert torch.equal(whole.images, packed.images)
    layer = next(name for name, part in victim.module.named_modules() if isinstance(part, nn.Linear))
    guarded = GuardedVictim(victim, GaussianDetector.fit(victim, layer, x, y, x))
    logits = guarded.clean_logits(x, y)
    attack = PGD(0.03, steps=3, objective=Undetected())
    whole, packed = (attack.run(each, x, y, None, logits) for each in (guarded, guarded.in_batches_of(7)))
    assert torch.equal(whole.images, packed.images)
    assert torch.equal(whole.status, packed.status)


@pytest.mark.parametrize("size", [0, -1, 1.5, "8", True])
def test_wrong_batch_sizes(lab, size):
    with pytest.raises((TypeError, ValueError), match="^batch_size must be"):
        lab.curved_victim().in_batches_of(size)
