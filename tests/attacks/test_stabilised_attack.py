import pytest
import torch
from torch import nn

from medadv.attacks import BIM, PGD, BiasFieldAttack, StabilisedMedicalAttack
from medadv.models import Victim
from medadv.objectives import CrossEntropy, CrossEntropyOrMargin, Gaussian, Margin, Stabilised


def setting(lab, count=40, **options):
    victim = lab.curved_victim(**options)
    bounds, axes = options.get("bounds", (0.0, 1.0)), options.get("axes", 2)
    x = lab.images_in(bounds, (count, options.get("channels", 1), *[8, 7, 6][:axes]))
    return victim, x, lab.answers(victim, x)


@pytest.mark.parametrize("target", ["delta", "input", "step"])
def test_weight_zero_is_iterative_fgsm_bit_by_bit_and_asks_no_more(lab, target):
    victim, x, y = setting(lab)
    victim.module = counting = lab.Counting(victim.module).eval()
    plain = BIM(0.03)(victim, x, y)
    asked = counting.shown
    result = StabilisedMedicalAttack(0.03, objective=Stabilised(weight=0, target=target))(victim, x, y)
    assert counting.shown == 2 * asked
    for field in ("images", "status", "loss", "distance", "predictions", "forwards", "backwards", "step"):
        assert torch.equal(getattr(result, field), getattr(plain, field)), field


@pytest.mark.parametrize(("target", "at_the_start"), [("delta", 1), ("input", 1), ("step", 0)])
def test_each_look_costs_one_more_pass(lab, target, at_the_start):
    victim, x, y = setting(lab)
    victim.module = counting = lab.Counting(victim.module).eval()
    result = StabilisedMedicalAttack(0.01, steps=5, objective=Stabilised(target=target))(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    assert result.robust.any()
    # The first of the five steps has the clean pass.
    assert set(result.forwards[result.robust].tolist()) == {1 + 4 + 1 + at_the_start + 5}
    assert set(result.backwards[result.robust].tolist()) == {5}


def kl(first, second):
    return (first.softmax(1) * (first.log_softmax(1) - second.log_softmax(1))).sum(1)


@pytest.mark.parametrize("target", ["delta", "input", "step"])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1024.0, 3071.0)])
def test_is_the_formula_followed_by_hand(lab, target, bounds):
    victim, x, y = setting(lab, 6, bounds=bounds, channels=3)
    low, high = bounds
    scale, eps, steps, weight = high - low, 0.05, 4, 2.0
    smooth = Gaussian(5, 1.5)
    changed, before = x.clone(), None
    for _ in range(steps):
        start = {"delta": x, "input": torch.zeros_like(x), "step": before}[target]
        value = CrossEntropy()(victim(changed.requires_grad_()), y)
        if start is not None:
            smoothed = (start + smooth(changed.detach() - start)).clamp(low, high)
            value = value - weight * kl(victim(changed), victim(smoothed).detach())
        (gradient,) = torch.autograd.grad(value.sum(), changed)
        before = changed.detach()
        length = 2.5 / steps * eps * scale
        changed = (x + (before + length * gradient.sign() - x).clamp(-eps * scale, eps * scale)).clamp(low, high)
    objective = Stabilised(weight=weight, smoothing=smooth, target=target)
    attack = StabilisedMedicalAttack(eps, steps=steps, objective=objective, stop_early=False)
    seen = []
    inner = victim.module.forward
    victim.module.forward = lambda images: (seen.append(images), inner(images))[1]
    attack(victim, x, y)
    # The last image but one that was shown, before the smoothed one: the end of the path.
    last = seen[-2] * (scale / 4) + (low + high) / 2
    torch.testing.assert_close(last.float(), changed, rtol=0, atol=scale * 1e-6)


def test_the_answer_to_the_smoothed_image_stays_nearer(lab):
    victim, x, y = setting(lab)
    smooth = Gaussian()
    spread = {}
    for weight in (0.0, 1.0, 10.0):
        objective = Stabilised(Margin(), weight)
        result = StabilisedMedicalAttack(0.1, steps=20, objective=objective, stop_early=False)(victim, x, y)
        with torch.no_grad():
            answers = victim(result.images), victim(x + smooth(result.images - x))
        spread[weight] = float(kl(*answers).mean())
    assert spread[10.0] < spread[1.0] < spread[0.0]


@pytest.mark.parametrize("target", ["delta", "input", "step"])
@pytest.mark.parametrize("attack", [PGD(0.03, steps=4), BiasFieldAttack(1.3, steps=4, spacing=3)])
def test_works_with_any_perturbation_batch_and_order(lab, target, attack):
    victim, x, y = setting(lab, 30)
    attack = type(attack)(attack.budget, steps=4, restarts=2, objective=Stabilised(weight=0.5, target=target))
    whole = attack(victim, x, y)
    assert whole.success.any()
    for rows in (*torch.arange(30).split(7), torch.arange(30).flip(0)):
        part = attack(victim, x[rows], y[rows], rows)
        for field in ("images", "status", "forwards", "backwards"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_volumes_and_channels(lab, axes, channels):
    victim, x, y = setting(lab, 6, axes=axes, channels=channels, bounds=(-1024.0, 3071.0))
    result = StabilisedMedicalAttack(0.1)(victim, x, y)
    assert 0 < float((result.images - x).abs().max()) <= 0.1 * 4095
    assert result.success.any()


def test_parts():
    attack = StabilisedMedicalAttack()
    assert (attack.eps, attack.steps, attack.random_start) == (8 / 255, 10, False)
    assert attack.objective == Stabilised(CrossEntropyOrMargin(), 1.0, Gaussian(3, 1.0), "delta")
    smoothing = "smoothing=Gaussian(size=3, sigma=1.0)"
    assert attack.configuration()["objective"] == (
        f"Stabilised(objective=CrossEntropyOrMargin(), weight=1.0, {smoothing}, target='delta')"
    )


def test_the_victim_is_shown_nothing_beyond_the_bounds(lab):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    seen = []

    class Watching(nn.Module):
        def forward(self, images):
            seen.append(images.detach())
            return net(images)

    # Black and white: what is spread to a full voxel would lie beyond.
    x = lab.images_in((0.0, 1.0), (8, 1, 8, 8)).round()
    y = lab.answers(Victim(net), x)
    StabilisedMedicalAttack(0.2, stop_early=False)(Victim(Watching().eval()), x, y)
    shown = torch.cat(seen)
    assert float(shown.min()) == 0
    assert float(shown.max()) == 1
