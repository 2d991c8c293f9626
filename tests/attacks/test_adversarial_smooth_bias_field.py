import json
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from medadv import attacks, objectives
from medadv.attacks import PGD, AdversarialSmoothBiasField, Search
from medadv.models import Victim
from medadv.objectives import CrossEntropy, Margin
from medadv.perturbations import PolynomialBiasField

RANGES = [(0.0, 1.0), (-1024.0, 3071.0)]
SHAPES = [(1, 10, 12), (3, 9, 8), (1, 5, 6, 8)]
WARPS = [None, "thin_plate", "flow"]
EVERY_WARP = pytest.mark.parametrize("warp", WARPS)
BOTH = pytest.mark.parametrize("bounds", RANGES)
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES)


def brightness_victim(shape, bounds, threshold=2.0):
    """Class 1 where the mean brightness, from 0 to 1, is above the threshold."""
    pixels = torch.Size(shape).numel()
    layer = nn.Linear(pixels, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros(pixels), torch.full((pixels,), 1 / pixels)]))
        layer.bias.copy_(torch.tensor([threshold, 0.0]))
    low, high = bounds
    return Victim(nn.Sequential(nn.Flatten(), layer).eval(), bounds=bounds, mean=low, std=high - low)


def zeros(count):
    return torch.zeros(count, dtype=torch.int64)


def roughness(clean, changed):
    """Mean absolute difference of neighbours in the log ratio."""
    ratio = (changed / clean).log()
    return sum(float(ratio.diff(dim=axis).abs().mean()) for axis in (2, 3))


@BOTH
@EVERY_SHAPE
@EVERY_WARP
@pytest.mark.parametrize("per_channel", [True, False])
def test_reaches_the_worst_case_of_a_model_of_brightness(bounds, shape, warp, per_channel):
    low, high = bounds
    share = 0.2 + 0.4 * torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    x = low + (high - low) * share
    attack = AdversarialSmoothBiasField(
        1.3, warp=warp, per_channel=per_channel, momentum=0.0, objective=Margin(), stop_early=False
    )
    result = attack(brightness_victim(shape, bounds), x, zeros(4))
    # Every voxel as bright as the budget allows.
    torch.testing.assert_close(result.images, low + 1.3 * (x - low), rtol=0, atol=(high - low) * 5e-6)
    assert result.distance.tolist() == pytest.approx([1.3] * 4, rel=1e-5)


@BOTH
@EVERY_SHAPE
@EVERY_WARP
def test_momentum_comes_near_the_worst_case(bounds, shape, warp):
    low, high = bounds
    share = 0.2 + 0.4 * torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    attack = AdversarialSmoothBiasField(1.3, warp=warp, objective=Margin(), stop_early=False)
    result = attack(brightness_victim(shape, bounds), low + (high - low) * share, zeros(4))
    reached = ((result.images - low) / (high - low)).flatten(1).mean(1) / share.flatten(1).mean(1)
    assert float(reached.min()) > 1 + 0.97 * 0.3


@BOTH
def test_darkens_where_that_is_worse(bounds):
    low, high = bounds
    x = low + (high - low) * torch.full((2, 1, 8, 8), 0.5)
    attack = AdversarialSmoothBiasField(1.6, momentum=0.0, objective=Margin(), stop_early=False)
    result = attack(brightness_victim((1, 8, 8), bounds, 0.1), x, torch.ones(2, dtype=torch.int64))
    torch.testing.assert_close(result.images, low + (x - low) / 1.6, rtol=0, atol=(high - low) * 5e-6)


@BOTH
def test_succeeds_exactly_where_the_gain_is_large_enough(bounds):
    low, high = bounds
    share = torch.linspace(0.2, 0.39, 20).reshape(-1, 1, 1, 1) * torch.ones(20, 1, 8, 8)
    victim = brightness_victim((1, 8, 8), bounds, 0.4)
    result = AdversarialSmoothBiasField(1.3, momentum=0.0)(victim, low + (high - low) * share, zeros(20))
    assert torch.equal(result.success, share[:, 0, 0, 0] * 1.3 > 0.4)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
@BOTH
@EVERY_WARP
def test_keeps_gain_and_bounds_for_any_image(lab, axes, channels, bounds, warp):
    victim = lab.curved_victim(channels=channels, bounds=bounds, axes=axes)
    x = lab.images_in(bounds, (5, channels, *[9, 8, 6][:axes]))
    y = lab.answers(victim, x)
    result = AdversarialSmoothBiasField(1.4, warp=warp, grid=4, steps=4)(victim, x, y)
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    before, after = x.double() - bounds[0], result.images.double() - bounds[0]
    inside = before > 0
    ratio = after[inside] / before[inside]
    assert float(ratio.max()) <= 1.4
    assert float(ratio.min()) >= 1 / 1.4
    assert 1 < float(result.distance.max()) <= 1.4


@EVERY_WARP
def test_success_never_falls_with_more_steps(lab, warp):
    """Without an early stop too: what was found first is kept, unless something better is."""
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (60, 1, 12, 12))
    y = lab.answers(victim, x)
    attacks = [AdversarialSmoothBiasField(1.5, warp=warp, steps=steps, stop_early=False) for steps in (1, 2, 5, 10, 20)]
    found = [attack(victim, x, y) for attack in attacks]
    for fewer, more in pairwise(found):
        assert bool((more.success | ~fewer.success).all())
        assert bool((more.loss[fewer.robust] >= fewer.loss[fewer.robust]).all())
    assert int(found[-1].success.sum()) > int(found[0].success.sum()) + 5


def test_success_grows_with_the_gain(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (100, 1, 12, 12))
    y = lab.answers(victim, x)
    budgets = (1.01, 1.1, 1.5, 3.0)
    shares = [AdversarialSmoothBiasField(gain, steps=10)(victim, x, y).robust_accuracy for gain in budgets]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] > 0.3


def test_is_far_smoother_than_noise_of_the_same_loss(lab):
    victim = lab.curved_victim()
    x = 0.2 + 0.6 * lab.images_in((0.0, 1.0), (20, 1, 48, 48))
    y = lab.answers(victim, x)
    options = {"stop_early": False, "objective": CrossEntropy()}
    field = AdversarialSmoothBiasField(1.3, **options)(victim, x, y)
    noise = next(
        result
        for eps in (0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256)
        if float((result := PGD(eps, **options)(victim, x, y)).loss.mean()) >= float(field.loss.mean())
    )
    with torch.no_grad():
        assert float(field.loss.mean()) > float(CrossEntropy()(victim(x), y).mean()) + 0.01
    assert roughness(x, field.images) < 0.25 * roughness(x, noise.images)


@pytest.mark.parametrize("warp", ["thin_plate", "flow"])
def test_coordinates_that_move_fit_what_a_polynomial_cannot(lab, warp):
    """AdvSBF against AdvBF at a low degree."""
    victim, _ = lab.linear_victim((1, 24, 24))
    x = 0.2 + 0.5 * lab.images_in((0.0, 1.0), (10, 1, 24, 24))
    y = lab.answers(victim, x)
    options = {"degree": 2, "objective": Margin(), "stop_early": False, "sparsity": 0.0, "smoothness": 0.0}
    still = AdversarialSmoothBiasField(1.3, warp=None, **options)(victim, x, y)
    moved = AdversarialSmoothBiasField(1.3, warp=warp, **options)(victim, x, y)
    assert bool(moved.parameters["control"].abs().flatten(1).amax(1).gt(0.05).all())
    assert float((moved.loss - still.loss).mean()) > 0
    assert int((moved.loss > still.loss).sum()) >= 8


def test_first_step_is_that_of_the_sibling_code(lab):
    """Signs of the gradient at zero: 0.1 for the coefficients, 0.01 for the displacement, which has no gradient yet."""
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (4, 1, 9, 9))
    attack = AdversarialSmoothBiasField(None, degree=4, steps=2, stop_early=False)
    result = attack(victim, x, lab.answers(victim, x))
    steps = result.parameters["coefficients"] / 0.1
    torch.testing.assert_close(steps, steps.round())
    assert set(steps.round().abs().unique().tolist()) <= {0.0, 1.0, 2.0}
    moves = result.parameters["control"] / 0.01
    assert set(moves.round().abs().unique().tolist()) <= {0.0, 1.0}
    assert attack.step_size == 0.1


def test_penalties_keep_the_field_small_and_the_motion_smooth(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (10, 1, 16, 16))
    y = lab.answers(victim, x)
    free = AdversarialSmoothBiasField(3.0, sparsity=0.0, smoothness=0.0, stop_early=False)
    sparse = AdversarialSmoothBiasField(3.0, sparsity=30.0, smoothness=0.0, stop_early=False)
    squares = [
        float(attack.perturbation.log_gain(x, attack(victim, x, y).parameters).square().mean())
        for attack in (free, sparse)
    ]
    assert squares[1] < 0.5 * squares[0]


@pytest.mark.parametrize("task", ["multilabel", "binary"])
def test_other_tasks(lab, task):
    linear, _ = lab.linear_victim((1, 8, 8), classes=3 if task == "multilabel" else 1)
    victim = Victim(linear.module, task=task)
    x = 0.2 + 0.4 * lab.images_in((0.0, 1.0), (12, 1, 8, 8))
    with torch.no_grad():
        y = victim.task.predict(victim(x))
    result = AdversarialSmoothBiasField(2.0)(victim, x, y)
    assert result.success.any()
    with torch.no_grad():
        assert torch.equal(victim.task.predict(victim(result.images)), result.predictions)


def test_results_do_not_depend_on_the_batch(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (7, 1, 8, 9))
    y = lab.answers(victim, x)
    attack = AdversarialSmoothBiasField(1.2)
    whole = attack(victim, x, y)
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    for rows in (order[:1], order[1:4], order):
        part = attack(victim, x[rows], y[rows], rows)
        assert torch.equal(part.status, whole.status[rows])
        torch.testing.assert_close(part.images, whole.images[rows], rtol=0, atol=1e-5)


def test_the_paper_has_no_limit():
    attack = AdversarialSmoothBiasField(gain=None)
    assert attack.budget == math.inf
    assert attack.with_budget(1.5) == AdversarialSmoothBiasField(1.5)
    assert AdversarialSmoothBiasField(1.5).with_budget(math.inf) == attack
    assert json.loads(json.dumps(attack.configuration()))["gain"] is None
    assert eval(repr(attack), {**vars(attacks), **vars(objectives)}) == attack


def test_without_a_limit_the_gain_goes_further(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (5, 1, 9, 9))
    result = AdversarialSmoothBiasField(None, stop_early=False)(victim, x, lab.answers(victim, x))
    assert float(result.distance.max()) > 3
    assert float(result.images.max()) <= 1


def test_parts():
    attack = AdversarialSmoothBiasField(1.5, 4, "monomial", "flow", [3, 4], 0.5, 2, True, "l2", steps=7, seed=4)
    assert attack.perturbation == PolynomialBiasField(1.5, 4, "monomial", "flow", (3, 4), True, 0.5, 2.0)
    assert attack.search == Search(7, "l2", step_size=0.1, momentum=1.0, random_start=False, seed=4)
    assert (attack.name, attack.budget) == ("smooth-bias-field", 1.5)
    assert attack.configuration()["grid"] == "(3, 4)"
    assert hash(attack) == hash(attack.with_budget(1.5))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"gain": 1.0}, ValueError, "gain must be above 1"),
        ({"degree": -1}, ValueError, "degree must be at least 0"),
        ({"rule": "newton"}, ValueError, "rule must be one of"),
        ({"rule": "adam"}, ValueError, "momentum must be 0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        AdversarialSmoothBiasField(**arguments)
