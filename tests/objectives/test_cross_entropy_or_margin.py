import pytest
import torch

from medadv.attacks import AdversarialSmoothBiasField, StabilisedMedicalAttack
from medadv.models import Victim
from medadv.objectives import CrossEntropy, CrossEntropyOrMargin, Margin, Stabilised


def value_and_gradient(objective, logits, targets):
    logits = logits.clone().requires_grad_()
    value = objective(logits, targets)
    return value.detach(), *torch.autograd.grad(value.sum(), logits)


@pytest.mark.parametrize(
    ("targets", "same"),
    [(torch.arange(50) % 4, CrossEntropy()), (torch.arange(200).reshape(50, 4) % 3 % 2, Margin())],
    ids=["one class", "several labels"],
)
def test_is_one_or_the_other_bit_for_bit(targets, same):
    logits = 5 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(
        value_and_gradient(CrossEntropyOrMargin(), logits, targets),
        value_and_gradient(same, logits, targets),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


DEFAULTS = {
    "smooth bias field": (AdversarialSmoothBiasField(1.1), lambda objective: objective),
    "stabilised": (StabilisedMedicalAttack(0.01), Stabilised),
}


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize(("labels", "same"), [(False, CrossEntropy()), (True, Margin())])
def test_attacks_of_papers_raise_what_these_say_and_the_margin_beyond(name, labels, same):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3))
    victim = Victim(net.eval(), task="multilabel" if labels else "multiclass", std=0.25)
    images = torch.rand(24, 1, 8, 8)
    with torch.no_grad():
        targets = victim.task.predict(victim(images))
    attack, wrap = DEFAULTS[name]
    found = attack(victim, images, targets)
    spelt = type(attack)(attack.budget, objective=wrap(same))(victim, images, targets)
    other = type(attack)(attack.budget, objective=wrap(CrossEntropy() if labels else Margin()))(victim, images, targets)
    for field in ("images", "status", "loss", "distance", "forwards", "backwards", "step"):
        assert torch.equal(getattr(found, field), getattr(spelt, field)), field
    assert 0 < found.success.sum() < len(images)
    assert not torch.equal(found.images, other.images)
