import math

import pytest
import torch
from torch import nn

from medadv.attacks import BiasFieldAttack, Search
from medadv.models import Victim
from medadv.objectives import Margin
from medadv.perturbations import SplineBiasField

RANGES = [(0.0, 1.0), (-1024.0, 3071.0)]


def brightness_victim(shape, bounds, threshold):
    """Class 1 where the mean brightness, from 0 to 1, is above the threshold."""
    pixels = torch.Size(shape).numel()
    layer = nn.Linear(pixels, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros(pixels), torch.full((pixels,), 1 / pixels)]))
        layer.bias.copy_(torch.tensor([threshold, 0.0]))
    low, high = bounds
    return Victim(nn.Sequential(nn.Flatten(), layer).eval(), bounds=bounds, mean=low, std=high - low)


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 7), (1, 4, 5, 6)])
@pytest.mark.parametrize("rule", ["sign", "adam"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_reaches_the_worst_case_of_a_model_of_brightness(lab, bounds, shape, rule, per_channel):
    low, high = bounds
    share = 0.2 + 0.4 * torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    x = low + (high - low) * share
    victim = brightness_victim(shape, bounds, threshold=0.9)
    y = torch.zeros(4, dtype=torch.int64)
    search = {"steps": 20, "rule": rule, "adaptive": rule == "sign", "stop_early": False}
    result = BiasFieldAttack(1.3, per_channel=per_channel, **search)(victim, x, y)
    # Every voxel as bright as the budget allows.
    torch.testing.assert_close(result.images, low + 1.3 * (x - low), rtol=0, atol=(high - low) * 5e-6)
    torch.testing.assert_close(result.loss, 1.3 * share.flatten(1).mean(1) - 0.9, rtol=0, atol=1e-5)
    assert result.distance.tolist() == pytest.approx([1.3] * 4, rel=1e-5)


@pytest.mark.parametrize("bounds", RANGES)
def test_darkens_where_that_is_worse(lab, bounds):
    low, high = bounds
    x = low + (high - low) * torch.full((2, 1, 8, 8), 0.5)
    victim = brightness_victim((1, 8, 8), bounds, threshold=0.1)
    y = torch.ones(2, dtype=torch.int64)
    result = BiasFieldAttack(1.6, objective=Margin(), stop_early=False)(victim, x, y)
    torch.testing.assert_close(result.images, low + (x - low) / 1.6, rtol=0, atol=(high - low) * 5e-6)


@pytest.mark.parametrize("bounds", RANGES)
def test_succeeds_exactly_where_the_gain_is_large_enough(lab, bounds):
    low, high = bounds
    share = torch.linspace(0.2, 0.39, 20).reshape(-1, 1, 1, 1) * torch.ones(20, 1, 8, 8)
    victim = brightness_victim((1, 8, 8), bounds, threshold=0.4)
    y = torch.zeros(20, dtype=torch.int64)
    result = BiasFieldAttack(1.3)(victim, low + (high - low) * share, y)
    assert torch.equal(result.success, share[:, 0, 0, 0] * 1.3 > 0.4)


def test_a_field_cannot_undo_what_noise_could(lab):
    # A checkerboard is out of reach of a smooth field: the model looks at the difference of neighbours.
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    layer = nn.Linear(256, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros(256), board.flatten() / 256]))
        layer.bias.copy_(torch.tensor([0.01, 0.0]))
    victim = Victim(nn.Sequential(nn.Flatten(), layer).eval())
    x = torch.full((2, 1, 16, 16), 0.5)
    y = torch.zeros(2, dtype=torch.int64)
    assert BiasFieldAttack(1.3)(victim, x, y).robust.all()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("per_channel", [True, False])
def test_keeps_gain_and_bounds_for_any_image(lab, axes, channels, bounds, per_channel):
    victim = lab.curved_victim(channels=channels, bounds=bounds, axes=axes)
    x = lab.images_in(bounds, (5, channels, *[9, 8, 6][:axes]))
    y = lab.answers(victim, x)
    result = BiasFieldAttack(1.4, steps=4, per_channel=per_channel)(victim, x, y)
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    before, after = x.double() - bounds[0], result.images.double() - bounds[0]
    inside = before > 0
    ratio = after[inside] / before[inside]
    assert float(ratio.max()) <= 1.4
    assert float(ratio.min()) >= 1 / 1.4
    assert 1 < float(result.distance.max()) <= 1.4


def test_success_grows_with_the_gain(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (100, 1, 12, 12))
    y = lab.answers(victim, x)
    shares = [BiasFieldAttack(gain, steps=10)(victim, x, y).robust_accuracy for gain in (1.01, 1.1, 1.5, 3.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] > 0.3


def test_parts():
    attack = BiasFieldAttack(1.5, spacing=[4, 6], smoothness=2, per_channel=True, steps=7, rule="l2", seed=4)
    assert attack.perturbation == SplineBiasField(1.5, (4.0, 6.0), True, 2.0)
    assert attack.search == Search(7, "l2", adaptive=True, seed=4)
    assert (attack.name, attack.budget) == ("bias-field", 1.5)
    assert hash(attack) == hash(BiasFieldAttack(1.5, (4, 6), 2.0, True, "l2", steps=7, seed=4))
    assert attack.configuration()["spacing"] == "(4.0, 6.0)"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"gain": 1.0}, ValueError, "gain must be above 1"),
        ({"gain": math.nan}, ValueError, "gain must be finite"),
        ({"gain": True}, TypeError, "gain must be a number"),
        ({"rule": "newton"}, ValueError, "rule must be one of"),
        ({"spacing": -4}, ValueError, "spacing must be above 0"),
        ({"rule": "adam"}, ValueError, 'rule must not be "adam" for adaptive steps'),
        ({"rule": "adam", "adaptive": False, "momentum": 0.9}, ValueError, "momentum must be 0"),
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"draws": 2, "random_start": False}, ValueError, "draws must be 1 without random_start"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        BiasFieldAttack(**arguments)
