"""What all minimum-norm attacks have in common."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from support import distances
from torch import nn

from medadv.attacks import DDN, FAB, FMN, ADef, CarliniWagner, DeepFool, HopSkipJump, MinimumNormAttack, Status
from medadv.models import RandomisedVictim, Victim
from medadv.objectives import CrossEntropy, Margin

UNIT, CT = (0.0, 1.0), (-1024.0, 3071.0)
GRADIENT = {
    "deepfool-l2": DeepFool("l2"),
    "deepfool-linf": DeepFool("linf"),
    "fab-linf": FAB("linf", steps=20),
    "fab-l2": FAB("l2", steps=20),
    "fab-l1": FAB("l1", steps=20),
    "fab-t": FAB("l2", targeted=True, steps=20, restarts=2),
    "ddn": DDN(steps=100),
    "fmn-linf": FMN("linf", steps=100),
    "fmn-l2": FMN("l2", steps=100),
    "fmn-l1": FMN("l1", steps=100),
    "fmn-l0": FMN("l0", steps=100),
    "carlini-wagner": CarliniWagner(weight=1.0, searches=4, steps=200),
}
DECISION = {
    "hop-skip-jump-l2": HopSkipJump("l2", steps=12),
    "hop-skip-jump-linf": HopSkipJump("linf", steps=12),
}
ALL = {**GRADIENT, **DECISION, "adef": ADef()}
SHORT = {
    "deepfool": DeepFool("l2", steps=3),
    "fab": FAB("linf", steps=3),
    "fab-t": FAB("l1", targeted=True, steps=2, restarts=2),
    "ddn": DDN(steps=6),
    "fmn": FMN("l1", steps=6),
    "fmn-l0": FMN("l0", steps=6),
    "carlini-wagner": CarliniWagner(weight=1.0, searches=2, steps=6),
    "hop-skip-jump": HopSkipJump("l2", steps=2, probes=20),
    "adef": ADef(steps=5),
}
SHAPES = {
    "grey": ((1, 6, 6), UNIT, 2),
    "ten classes": ((1, 6, 6), UNIT, 10),
    "colour": ((3, 5, 4), UNIT, 3),
    "four channels": ((4, 4, 4), UNIT, 1),
    "ct volume": ((1, 3, 4, 5), CT, 2),
}


def measured(attack, result, x, scale=1.0):
    """The distance of the images or flows of a result, measured anew."""
    if attack.measure == "displacement":
        return torch.linalg.vector_norm(result.parameters["flow"].double(), dim=1).flatten(1).amax(1).numpy()
    change = (result.images.double() - x.double()).flatten(1).numpy()
    length = np.linalg.norm(change, distances.ORDERS[attack.measure], axis=1)
    return length if attack.measure == "l0" else length / scale


def problem(lab, name, at_the_bounds, count=12):
    """A linear victim, images and labels; with `at_the_bounds`, so far apart that many voxels meet the bounds."""
    shape, bounds, classes = SHAPES[name]
    scale = bounds[1] - bounds[0]
    task = "binary" if classes == 1 else "multiclass"
    bias = 1.5 if at_the_bounds else 0.0
    victim, weight = lab.linear_victim(
        shape, classes, bounds=bounds, bias=bias, mean=sum(bounds) / 2, std=scale, task=task
    )
    x = lab.images_in(bounds, (count, *shape))
    if at_the_bounds:
        fate = lab.images_in(UNIT, x.shape, seed=1)
        x = torch.where(fate < 0.3, bounds[0], torch.where(fate > 0.7, bounds[1], x)).float()
    y = lab.answers(victim, x)
    weight = weight / scale
    weight = weight if classes > 1 else torch.cat([torch.zeros_like(weight), weight])
    with torch.no_grad():
        logits = victim(x).double()
    rows = [values.double().flatten(1).numpy() for values in (weight, logits, x)]
    return victim, x, y, lambda norm: distances.of_linear_model(*rows, y.numpy(), bounds, norm)


@pytest.mark.parametrize("name", GRADIENT)
@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("at_the_bounds", [False, True])
def test_finds_the_exact_distance_of_a_linear_model(lab, name, case, at_the_bounds):
    attack = GRADIENT[name]
    victim, x, y, exact = problem(lab, case, at_the_bounds)
    result = attack(victim, x, y)
    assert result.success.all()
    ratio = result.distance.numpy() / exact(attack.measure)
    assert ratio.min() >= 1 - 1e-6
    if attack.measure == "l0":
        assert ratio.tolist() == [1.0] * len(ratio)
    # DeepFool stops 2 % beyond the boundary, and the other attacks start there; they must come nearer.
    assert ratio.max() <= 1.025
    assert np.median(ratio) <= (1.025 if name.startswith("deepfool") else 1.015)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_leaves_classes_that_are_out_of_reach(lab, norm):
    # On a black image: nearest to class 1, by far, where it could only become darker.
    victim, _ = lab.linear_victim((1, 3, 3), classes=3, bias=0.1)
    x = torch.zeros(2, 1, 3, 3)
    with torch.no_grad():
        victim.module[1].weight[:] = torch.tensor([[0.0], [-5.0], [0.1]], dtype=torch.float64)
    result = DeepFool(norm)(victim, x, torch.zeros(2, dtype=torch.int64))
    assert result.predictions.tolist() == [2, 2]
    exact = {"l2": 1 / 3, "linf": 1 / 9}[norm]
    assert result.distance.numpy() == pytest.approx(np.full(2, exact), rel=0.03)


@pytest.mark.parametrize("name", DECISION)
@pytest.mark.parametrize("case", ["grey", "four channels", "ct volume"])
def test_finds_the_distance_of_a_linear_model_by_answers_alone(lab, name, case):
    attack = dataclasses.replace(DECISION[name], steps=40)
    victim, x, y, exact = problem(lab, case, at_the_bounds=False, count=4)
    result = attack(victim, x, y)
    assert result.success.all()
    ratio = result.distance.numpy() / exact(attack.measure)
    assert ratio.min() >= 1 - 1e-6
    assert ratio.max() <= 1.05


def rectified_victim():
    """A small network with kinks, in float32."""
    torch.manual_seed(0)
    return Victim(nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4)).eval())


class Ellipsoid(nn.Module):
    """Class 1 inside an ellipsoid around the middle of the image range."""

    def __init__(self, scales):
        super().__init__()
        self.scales = nn.Parameter(scales.double())

    def forward(self, images):
        inside = 1 - ((images.double().flatten(1) - 0.5) ** 2 * self.scales).sum(1)
        return torch.stack([torch.zeros_like(inside), inside], dim=1)


@pytest.mark.parametrize("name", [name for name in ALL if not name.endswith(("l1", "l0", "adef"))])
def test_finds_the_exact_distance_to_a_curved_boundary(lab, name):
    attack = dataclasses.replace(ALL[name], steps=40) if name in DECISION else ALL[name]
    scales = torch.linspace(1.0, 6.0, 16).double()
    x = torch.cat([lab.images_in(UNIT, (20, 1, 4, 4)), torch.full((2, 1, 4, 4), 0.5)])
    victim = Victim(Ellipsoid(scales).eval())
    y = torch.zeros(22, dtype=torch.int64)
    y[-2:] = 1
    result = attack(victim, x[:20], y[:20])
    outside = lab.answers(victim, x[:20]) == 0
    assert outside.sum() > 10
    assert result.success[outside].all()
    exact = [
        distances.to_ellipsoid(row, scales.numpy(), attack.measure)
        for row in x[:20][outside].flatten(1).double().numpy() - 0.5
    ]
    ratio = result.distance[outside].numpy() / np.array(exact)
    assert ratio.min() >= 1 - 1e-6
    limit = {"deepfool-l2": 1.2, "deepfool-linf": 1.2, "hop-skip-jump-l2": 1.05, "hop-skip-jump-linf": 1.1}
    assert ratio.max() <= limit.get(name, 1.02)


@pytest.mark.parametrize("name", SHORT)
def test_results_do_not_depend_on_batch_size_or_order(lab, name):
    attack = SHORT[name]
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (64, 1, 8, 8))
    y = lab.answers(victim, x)
    y[::7] = (y[::7] + 1) % 3
    whole = attack(victim, x, y)
    assert whole.success.any()
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    for parts in (torch.arange(64).split(7), torch.arange(64).split(1)[:6], [shuffled]):
        for rows in parts:
            part = attack(victim, x[rows], y[rows], ids=rows)
            for field in ("images", "status", "predictions", "forwards", "backwards", "step", "distance"):
                assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


@pytest.mark.parametrize("name", [name for name in SHORT if not name.startswith("hop")])
def test_the_pass_that_checks_gives_the_first_gradients_too(lab, name):
    attack, victim = SHORT[name], lab.curved_victim()
    x = lab.images_in(UNIT, (40, 1, 8, 8))
    y = lab.answers(victim, x)
    y[::5] = (y[::5] + 1) % 3
    shared = attack(victim, x, y)
    apart = attack.run(victim, x, y, None, victim.clean_logits(x, y), clean_forwards=1)
    assert bool(shared.success.any())
    for field in ("images", "status", "predictions", "clean_predictions", "loss", "distance", "backwards", "step"):
        assert torch.equal(getattr(shared, field), getattr(apart, field)), field
    for parameter, values in apart.parameters.items():
        assert torch.equal(shared.parameters[parameter], values)
    assert torch.equal(apart.forwards - shared.forwards, victim.correct(victim(x), y).long())


def test_the_pass_that_checks_is_that_of_the_draws_by_which_a_victim_is_judged(lab):
    curved = lab.curved_victim()
    net = nn.Sequential(nn.Dropout(0.1), curved.module).eval()
    noisy = RandomisedVictim(net, draws=3, mean=curved.mean, std=curved.std)
    noisy.module[0].train()
    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y = lab.answers(noisy, x)
    shared = DDN(steps=20)(noisy, x, y)
    apart = DDN(steps=20).run(noisy, x, y, None, noisy.clean_logits(x, y), clean_forwards=1)
    assert torch.equal(shared.images, apart.images)
    assert torch.equal(shared.forwards, apart.forwards - 3)
    assert bool(shared.success.any())


def test_the_pass_that_checks_is_not_kept_where_the_victim_is_shown_fewer_images(lab):
    victim = lab.curved_victim()
    victim.module = counting = lab.Counting(victim.module).eval()
    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y = lab.answers(victim, x)
    one, other = (DDN(steps=6)(each, x, y) for each in (victim, victim.in_batches_of(7)))
    assert torch.equal(one.images, other.images)
    assert torch.equal(other.forwards, one.forwards + 1)
    assert counting.shown == 20 + int((one.forwards + other.forwards).sum())


def test_targeted_searches_have_the_boundary_at_the_clean_image_in_common(lab):
    victim, x, y, _ = problem(lab, "ten classes", at_the_bounds=False)
    result = FAB("l2", targeted=True, steps=4)(victim, x, y)
    assert result.backwards.tolist() == [4 * 9] * len(x)
    # The clean images; a look per step and class, a gradient before each but the first, and three final searches.
    assert result.forwards.tolist() == [1 + 9 * (4 + 3) + 3] * len(x)


@pytest.mark.parametrize("name", ALL)
def test_what_is_returned_is_what_the_victim_says_of_the_image(lab, name):
    attack = ALL[name]
    victim = lab.curved_victim(bounds=CT)
    x = lab.images_in(CT, (30, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:5] = (y[:5] + 1) % 3
    result = attack(victim, x, y)
    logits = victim(result.images).detach()
    assert torch.equal(logits.argmax(1), result.predictions)
    assert torch.equal(result.predictions != y, result.status != Status.FAILED)
    assert torch.equal(result.clean_predictions, lab.answers(victim, x))
    assert torch.equal(attack.perturbation.apply(x, result.parameters, CT), result.images)
    torch.testing.assert_close(result.loss, Margin()(logits, y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.distance, measured(attack, result, x, 4095.0), rtol=1e-12)
    assert float(result.images.min()) >= CT[0]
    assert float(result.images.max()) <= CT[1]
    assert torch.equal(result.step >= 0, result.success)
    assert result.success.sum() > 15


@pytest.mark.parametrize("name", GRADIENT)
def test_finds_hold_for_each_image_alone_and_have_a_margin(lab, name):
    victim = rectified_victim()
    x = lab.images_in(UNIT, (32, 1, 8, 8))
    y = lab.answers(victim, x)
    result = GRADIENT[name](victim, x, y)
    assert result.success.all()
    alone = torch.cat([lab.answers(victim, image[None]) for image in result.images])
    assert bool((alone != y).all())
    assert float(result.loss.min()) >= 1e-5


@pytest.mark.parametrize("attack", [DDN(steps=30), FMN("linf", steps=30), FMN("l0", steps=30), DDN(steps=1)], ids=repr)
def test_the_first_guess_takes_a_step_per_rival_class(lab, attack):
    victim, x, y, _ = problem(lab, "ten classes", at_the_bounds=False)
    result = attack(victim, x, y)
    rival_count = min(9, max(attack.steps // 2, 1))
    assert set(result.backwards.tolist()) == {attack.steps}
    # The clean images, from which the guess is made, a look per step, and one at the end; "l0" looks at the guess, too.
    looks = 2 + attack.steps - rival_count + (attack == FMN("l0", steps=30))
    assert set(result.forwards.tolist()) == {looks}


def test_l0_starts_with_more_entries_than_the_guess_changes(lab):
    # From a single entry it would take three times as many steps.
    victim = rectified_victim()
    x = lab.images_in(UNIT, (32, 1, 8, 8))
    assert FMN("l0", steps=8)(victim, x, lab.answers(victim, x)).success.all()


def test_deepfool_takes_no_gradient_of_images_that_are_done(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (30, 1, 8, 8))
    y = lab.answers(victim, x)
    result = DeepFool()(victim, x, y)
    assert result.success.all()
    assert len(result.step.unique()) > 1
    assert torch.equal(result.backwards, 2 * result.step)
    # The clean images, a look after each step and a gradient before each later one, and one look at the end.
    assert torch.equal(result.forwards, 2 * result.step + 1)


def test_kappa_is_the_margin_that_is_asked_for(lab):
    victim, x, y, _ = problem(lab, "grey", at_the_bounds=False)
    with torch.no_grad():
        largest = victim(x).abs().amax(1).clamp_min(1)
    for name, attack in GRADIENT.items():
        result = dataclasses.replace(attack, kappa=0.3)(victim, x, y)
        assert result.success.all(), name
        assert bool((result.loss >= 0.3 * largest).all()), name
        assert bool((result.loss <= 0.4 * largest).all()), name


def test_confidence_is_the_margin_of_carlini_and_wagner(lab):
    victim, x, y, _ = problem(lab, "grey", at_the_bounds=False)
    plain, confident = (
        CarliniWagner(weight=1.0, searches=4, steps=200, confidence=confidence)(victim, x, y)
        for confidence in (0.0, 0.4)
    )
    assert confident.success.all()
    assert bool((confident.loss >= 0.4).all())
    assert bool((confident.loss <= 0.42).all())
    assert bool((plain.loss < 0.1).all())


class Stubborn(nn.Module):
    """Has a gradient everywhere, and one answer."""

    def forward(self, images):
        brightness = images.flatten(1).mean(1)
        return torch.stack([2 + brightness, brightness**2], dim=1)


@pytest.mark.parametrize("name", SHORT)
def test_a_failed_attack_returns_the_clean_image(lab, name):
    x = lab.images_in(UNIT, (5, 1, 8, 8))
    result = SHORT[name](Victim(Stubborn().eval()), x, torch.zeros(5, dtype=torch.int64))
    assert result.robust.all()
    assert torch.equal(result.images, x)
    assert result.distance.tolist() == [0.0] * 5
    assert not any(values.any() for values in result.parameters.values())
    assert result.step.tolist() == [-1] * 5
    torch.testing.assert_close(result.loss, x.mean((1, 2, 3)) ** 2 - 2 - x.mean((1, 2, 3)))


@pytest.mark.parametrize("name", SHORT)
def test_images_already_wrong_stay_as_they_are(lab, name):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (6, 1, 8, 8))
    y = (lab.answers(victim, x) + 1) % 3
    result = SHORT[name](victim, x, y)
    assert result.status.tolist() == [Status.ALREADY_WRONG] * 6
    assert torch.equal(result.images, x)
    assert result.distance.tolist() == [0.0] * 6
    assert result.forwards.tolist() == [1] * 6
    assert result.backwards.tolist() == [0] * 6


@pytest.mark.parametrize("name", SHORT)
def test_counts_are_those_of_a_counting_model(lab, name):
    victim = lab.curved_victim()
    counting = lab.Counting(victim.module).eval()
    counted = Victim(counting, mean=victim.mean, std=victim.std)
    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:5] = (y[:5] + 1) % 3
    result = SHORT[name](counted, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SHORT)
def test_images_and_distance_stay_float32_when_the_model_runs_in_half_precision(lab, name, dtype):
    torch.manual_seed(0)
    victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to(dtype).eval())
    x = lab.images_in(UNIT, (8, 1, 8, 8))
    y = lab.answers(victim, x)
    attack = SHORT[name]
    result = attack(victim, x, y)
    assert result.images.dtype == torch.float32
    assert result.success.any()
    assert torch.equal(lab.answers(victim, result.images) != y, result.success)
    np.testing.assert_allclose(result.distance, measured(attack, result, x), rtol=1e-12)


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shapes_and_channels(lab, name, axes, channels):
    victim = lab.curved_victim(channels=channels, bounds=CT, axes=axes)
    x = lab.images_in(CT, (4, channels, *[5, 6, 4][:axes]))
    result = SHORT[name](victim, x, lab.answers(victim, x))
    assert result.images.shape == x.shape
    assert float(result.images.min()) >= CT[0]
    assert float(result.images.max()) <= CT[1]
    assert bool((result.distance[result.success] > 0).all())


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_switched_off_and_leaves_the_model_alone(lab, name, context):
    victim = lab.curved_victim()
    state = {key: value.clone() for key, value in victim.module.state_dict().items()}
    x = lab.images_in(UNIT, (10, 1, 8, 8))
    y, before = lab.answers(victim, x), x.clone()
    expected = SHORT[name](victim, x, y)
    with context():
        inside = SHORT[name](victim, x + 0, y + 0)
    assert torch.equal(inside.images, expected.images)
    assert torch.equal(inside.status, expected.status)
    assert torch.equal(x, before)
    assert all(torch.equal(value, state[key]) for key, value in victim.module.state_dict().items())
    assert all(parameter.grad is None for parameter in victim.module.parameters())
    assert not any(tensor.requires_grad for tensor in (inside.images, inside.loss, *inside.parameters.values()))


class Detached(nn.Module):
    def forward(self, images):
        return (images.detach().flatten(1)[:, :3] - 0.5).clone()


class Pole(nn.Module):
    def forward(self, images):
        flat = images.flatten(1)
        return torch.stack([flat.sum(1), flat[:, 0].sqrt()], dim=1)


@pytest.mark.parametrize("name", [name for name in SHORT if not name.startswith("hop")])
def test_models_without_a_usable_gradient_are_refused(lab, name):
    x = lab.images_in(UNIT, (3, 1, 4, 4))
    victim = Victim(Detached().eval())
    with pytest.raises(ValueError, match="the model must give a gradient to its input"):
        SHORT[name](victim, x, lab.answers(victim, x))
    x[1, 0, 0, 0] = 0
    with pytest.raises(ValueError, match="the gradient must be finite, got NaN or infinity for example 8 at step 0"):
        SHORT[name](Victim(Pole().eval()), x, torch.zeros(3).long(), torch.tensor([7, 8, 9]))


@pytest.mark.parametrize("name", [name for name in SHORT if not name.startswith("hop")])
def test_a_flat_model_withstands(lab, name):
    class Flat(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2] * 0 + torch.tensor([2.0, 0.0])

    x = lab.images_in(UNIT, (4, 1, 4, 4))
    result = SHORT[name](Victim(Flat().eval()), x, torch.zeros(4).long())
    assert result.robust.all()
    assert torch.equal(result.images, x)


@pytest.mark.parametrize("attack", SHORT.values(), ids=list(SHORT))
def test_attacks_are_values(attack):
    kind = type(attack)
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    assert kind(steps=7) != kind(steps=8)
    assert eval(repr(attack)) == attack
    assert issubclass(kind, MinimumNormAttack)
    configuration = attack.configuration()
    assert json.loads(json.dumps(configuration)) == configuration
    assert configuration["name"] == kind.name
    assert {field.name for field in dataclasses.fields(kind)} < set(configuration)


def test_the_margin_goes_for_the_nearest_class_and_cross_entropy_for_all(lab):
    victim, x, y, exact = problem(lab, "ten classes", at_the_bounds=False)
    ours, papers = (DDN(steps=100, objective=objective)(victim, x, y) for objective in (Margin(), CrossEntropy()))
    assert bool((ours.distance <= papers.distance * (1 + 1e-3)).all())
    assert (papers.distance.numpy() / exact("l2")).max() <= 1.025


class Wavy(nn.Module):
    """Many boundaries, of which the nearest is not the one that the gradient shows."""

    def forward(self, images):
        flat = images.flatten(1).double()
        waves = torch.randn(flat.shape[1], 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        rise = (5 * flat @ waves).sin().sum(1) - 1
        return torch.stack([torch.zeros_like(rise), rise], dim=1)


def test_restarts_can_only_help(lab):
    victim = Victim(Wavy().eval())
    x = lab.images_in(UNIT, (30, 1, 4, 4))
    y = lab.answers(victim, x)
    one, three = (FAB("l2", steps=10, restarts=restarts)(victim, x, y) for restarts in (1, 3))
    # The final searches start elsewhere, and end a little elsewhere.
    assert bool((three.distance[one.success] <= one.distance[one.success] * 1.01).all())
    assert bool((three.distance[one.success] < one.distance[one.success] * 0.98).any())


def test_success_within_a_budget(lab):
    victim, x, y, exact = problem(lab, "grey", at_the_bounds=False)
    y[0] = 1 - y[0]
    result = FAB("l2", steps=20)(victim, x, y)
    eps = float(result.distance[1:].median())
    within = result.success_within(eps)
    assert torch.equal(within, result.success & (result.distance <= eps))
    assert not bool(within[0])
    clear = np.abs(exact("l2") / eps - 1) > 0.02
    assert (within.numpy()[1:][clear[1:]] == (exact("l2") < eps)[1:][clear[1:]]).all()
    assert result.robust_accuracy_within(eps) == pytest.approx((11 - int(within.sum())) / 12)
    assert result.robust_accuracy_within(math.inf) == result.robust_accuracy == 0.0


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "words"),
    [
        (CarliniWagner, {"confidence": -1}, ValueError, "confidence must be at least 0"),
        (FMN, {"norm": "l3"}, ValueError, "norm must be one of linf, l2, l1, l0"),
        (DeepFool, {"norm": "l1"}, ValueError, "norm must be one of l2, linf, got 'l1'"),
        (DeepFool, {"steps": 0}, ValueError, "steps must be at least 1"),
        (DeepFool, {"overshoot": -0.1}, ValueError, "overshoot must be at least 0"),
        (DeepFool, {"classes": 1}, ValueError, "classes must be at least 2"),
        (DeepFool, {"kappa": -1}, ValueError, "kappa must be at least 0"),
        (DeepFool, {"kappa": True}, TypeError, "kappa must be a number"),
        (FAB, {"norm": "l0"}, ValueError, "norm must be one of linf, l2, l1"),
        (FAB, {"restarts": 0}, ValueError, "restarts must be at least 1"),
        (FAB, {"targeted": 1}, TypeError, "targeted must be True or False"),
        (FAB, {"seed": -1}, ValueError, "seed must be at least 0"),
        (DDN, {"gamma": 1}, ValueError, "gamma must be below 1"),
        (DDN, {"objective": Margin}, TypeError, "objective must be an objective"),
        (FMN, {"norm": 2}, TypeError, "norm must be one of"),
        (CarliniWagner, {"weight": 0}, ValueError, "weight must be above 0"),
        (CarliniWagner, {"searches": 0}, ValueError, "searches must be at least 1"),
        (CarliniWagner, {"rate": math.nan}, ValueError, "rate must be finite"),
        (HopSkipJump, {"norm": "l1"}, ValueError, "norm must be one of l2, linf"),
        (HopSkipJump, {"probes": 0}, ValueError, "probes must be at least 1"),
        (HopSkipJump, {"most_probes": 2.5}, TypeError, "most_probes must be a whole number"),
    ],
)
def test_wrong_arguments(kind, arguments, error, words):
    with pytest.raises(error, match=words):
        kind(**arguments)
