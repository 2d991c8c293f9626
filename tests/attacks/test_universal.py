"""Universal changes: closed forms for linear models, and what holds whatever the model."""

import dataclasses

import pytest
import torch
from torch import nn

from medadv.attacks import PGD, Status, Universal
from medadv.models import Victim
from medadv.objectives import CrossEntropy, Margin, Targeted
from medadv.perturbations import (
    Additive,
    Affine,
    Chain,
    Flow,
    FrequencyQuantisation,
    IntensityCurve,
    PolynomialBiasField,
    SplineBiasField,
    SplineDeformation,
)

UNIT, CT = (0.0, 1.0), (-1024.0, 3071.0)
FAMILIES = {
    "linf": Additive(0.05),
    "l2": Additive(0.5, "l2"),
    "l1": Additive(3.0, "l1"),
    "bias field": SplineBiasField(1.3),
    "polynomial": PolynomialBiasField(1.3),
    "deformation": SplineDeformation(1.0),
    "flow": Flow(1.0),
    "affine": Affine(0.5),
    "intensity": IntensityCurve(1.3),
    "chain": Chain((SplineDeformation(1.0), SplineBiasField(1.2))),
}


def one_class(lab, shape, bounds=UNIT, count=40, classes=2):
    """A linear victim, and images of class 0 away from the bounds."""
    low, high = bounds
    victim, weight = lab.linear_victim(shape, classes, bounds=bounds, bias=0.3, mean=(low + high) / 2, std=high - low)
    x = low + (high - low) * (0.3 + 0.4 * lab.images_in(UNIT, (8 * count, *shape)))
    x = x[lab.answers(victim, x) == 0][:count].float()
    assert len(x) == count
    return victim, weight, x, torch.zeros(count, dtype=torch.int64)


@pytest.mark.parametrize("bounds", [UNIT, CT])
@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 4), (4, 4, 4), (1, 3, 4, 5)])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_is_exact_for_a_linear_model(lab, bounds, shape, norm):
    scale = bounds[1] - bounds[0]
    victim, weight, x, y = one_class(lab, shape, bounds)
    towards = (weight[1] - weight[0]).float()
    eps = {"linf": 0.05, "l2": 0.2, "l1": 0.25}[norm]
    best = {
        "linf": eps * towards.sign(),
        "l2": eps * towards / towards.norm(),
        "l1": eps * towards.sign() * (towards.abs() == towards.abs().max()),
    }[norm]
    change = Universal(Additive(eps, norm), epochs=40, together=20, step_size=1.0).fit(victim, x[:20], y[:20])
    torch.testing.assert_close(change.parameters["noise"][0] / scale, best, rtol=1e-3, atol=1e-4 * eps)
    # Other images are fooled exactly where the change reaches beyond the boundary.
    held, labels = x[20:], y[20:]
    result = change(victim, held, labels)
    with torch.no_grad():
        gap = (victim(held)[:, 0] - victim(held)[:, 1]) / float((towards * best).sum())
    clear = (gap - 1).abs() > 1e-3
    assert torch.equal(result.success[clear], (gap < 1)[clear])
    assert float(result.distance.max()) <= eps
    assert result.forwards.tolist() == [2] * 20
    assert result.backwards.tolist() == [0] * 20


def test_a_target_is_reached_along_its_own_weights(lab):
    victim, _, x, y = one_class(lab, (1, 6, 6), classes=4)
    objective = Targeted(2, CrossEntropy())
    change = Universal(Additive(0.3), objective, epochs=10).fit(victim, x[:30], y[:30])
    result = change(victim, x[30:], y[30:])
    assert change.success == 1.0
    assert result.predictions.tolist() == [2] * 10
    small = dataclasses.replace(Universal(Additive(0.02), objective), epochs=4).fit(victim, x[:30], y[:30])
    reached = small(victim, x[30:], y[30:])
    assert torch.equal(reached.success, reached.predictions == 2)
    with torch.no_grad():
        rose = victim(reached.images)[:, 2] - victim(x[30:])[:, 2]
    assert bool((rose > 0).all())


def test_a_bias_field_brightens_everything_where_that_helps():
    class Bright(nn.Module):
        def forward(self, images):
            return torch.stack([torch.full((len(images),), 0.62), images.mean((1, 2, 3))], dim=1)

    x = torch.full((12, 1, 12, 12), 0.5) * torch.linspace(0.9, 1.1, 12).reshape(-1, 1, 1, 1)
    universal = Universal(SplineBiasField(1.2), Margin())
    change = universal.fit(Victim(Bright().eval()), x, torch.zeros(12, dtype=torch.int64))
    torch.testing.assert_close(change.apply(x), 1.2 * x, rtol=1e-5, atol=0)
    expected = 1.2 * x.mean((1, 2, 3)) > 0.62
    assert change.success == float(expected.double().mean())
    assert 0 < change.success < 1


def setting(lab, bounds=UNIT, channels=1, axes=2, count=60):
    victim = lab.curved_victim(channels=channels, bounds=bounds, axes=axes)
    x = lab.images_in(bounds, (count, channels, *[10, 9, 8][:axes]))
    return victim, x, lab.answers(victim, x)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("channels", "axes", "bounds"), [(1, 2, CT), (3, 2, UNIT), (4, 3, UNIT)])
def test_every_family_climbs_and_keeps_its_budget(lab, name, channels, axes, bounds):
    victim, x, y = setting(lab, bounds, channels, axes, count=24)
    family = FAMILIES[name]
    change = Universal(family, epochs=3, together=8).fit(victim, x[:12], y[:12])
    assert all(len(values) == 1 for values in change.parameters.values())
    with torch.no_grad():
        rise = CrossEntropy()(victim(change.apply(x[:12])), y[:12]) - CrossEntropy()(victim(x[:12]), y[:12])
    # Nothing at all is better than what does harm.
    assert float(rise.mean()) >= -1e-6 or change.success > 0
    result = change(victim, x[12:], y[12:])
    assert torch.equal(change.apply(x[12:]), result.images)
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    share = family.share(x[12:], result.parameters, bounds)
    assert float(share.max()) <= 1
    # Motions of noise lead nowhere in particular.
    assert name == "affine" or (float(share.min()) > 0 and float(rise.mean()) > 0)
    if isinstance(family, Additive):
        moved = (result.images.double() - x[12:].double()).flatten(1) / (bounds[1] - bounds[0])
        order = {"linf": torch.inf, "l2": 2, "l1": 1}[family.norm]
        assert float(torch.linalg.vector_norm(moved, order, dim=1).max()) <= family.eps


@pytest.mark.parametrize("bits", [8, 16])
def test_the_budget_holds_after_saving(lab, bits):
    victim, x, y = setting(lab)
    levels = 2**bits - 1
    x = ((x.double() * levels).round() / levels).float()
    result = Universal(Additive(16 / 255), epochs=2).fit(victim, x, y)(victim, x, y)
    saved = (result.images.double() * levels).round() / levels
    assert float((saved - x.double()).abs().max()) <= 16 / 255 + 1e-7


@pytest.mark.parametrize("together", [1, 7, 64])
@pytest.mark.parametrize("skip_fooled", [False, True])
def test_the_order_of_the_training_images_plays_no_part(lab, together, skip_fooled):
    victim, x, y = setting(lab)
    y[::9] = (y[::9] + 1) % 3
    ids = torch.arange(60) * 3 + 5
    universal = Universal(Additive(0.03), epochs=2, together=together, skip_fooled=skip_fooled)
    change = universal.fit(victim, x, y, ids)
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    other = universal.fit(victim, x[shuffled], y[shuffled], ids[shuffled])
    assert torch.equal(change.parameters["noise"], other.parameters["noise"])
    assert change.success == other.success
    assert torch.equal(other.forwards, change.forwards[shuffled])
    assert torch.equal(other.backwards, change.backwards[shuffled])


def test_the_change_does_not_depend_on_the_batch(lab):
    victim, x, y = setting(lab)
    y[::9] = (y[::9] + 1) % 3
    change = Universal(Additive(0.1), epochs=3).fit(victim, x[:30], y[:30])
    whole = change(victim, x, y)
    assert {Status.ALREADY_WRONG, Status.SUCCESS, Status.FAILED} == set(whole.status.tolist())
    for rows in (*torch.arange(60).split(7), *torch.arange(60).split(1)[:6], torch.arange(60).flip(0)):
        part = change(victim, x[rows], y[rows], rows)
        for name in ("images", "status", "predictions", "forwards", "backwards", "step", "distance"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[rows]), name


def test_seeds_and_groups_matter(lab):
    victim, x, y = setting(lab)
    universal = Universal(Additive(0.03), epochs=2, together=8)
    fits = [
        replaced.fit(victim, x, y).parameters["noise"]
        for replaced in (
            universal,
            dataclasses.replace(universal, seed=1),
            dataclasses.replace(universal, together=20),
        )
    ]
    assert not torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])


@pytest.mark.parametrize("options", [{}, {"together": 1, "skip_fooled": True, "epochs": 15}])
def test_fools_many_images_it_was_not_fitted_to_and_more_than_noise(lab, options):
    victim, x, y = setting(lab, count=200)
    universal = Universal(Additive(0.15), **options)
    change = universal.fit(victim, x[:100], y[:100])
    result = change(victim, x[100:], y[100:])
    signs = torch.randn(20, *x.shape[1:], generator=torch.Generator().manual_seed(0)).sign()
    noise = [(lab.answers(victim, (x[100:] + 0.15 * sign).clamp(0, 1)) != y[100:]).double().mean() for sign in signs]
    found = float(result.success.double().mean())
    assert found > 2 * float(torch.stack(noise).max())
    assert found > 0.25
    # No change for all can do more than the best for each.
    assert int(result.success.sum()) <= int(PGD(0.15, steps=40, restarts=3)(victim, x[100:], y[100:]).success.sum())


def test_images_that_are_fooled_have_no_say_where_they_are_skipped(lab):
    victim, x, y = setting(lab)
    all_of_them, some = (
        Universal(Additive(0.2), epochs=4, together=20, skip_fooled=skip).fit(victim, x, y) for skip in (False, True)
    )
    assert set(all_of_them.backwards.tolist()) == {4}
    assert int(some.backwards.min()) < 4


def test_passes_are_those_of_a_counting_model(lab):
    plain, x, y = setting(lab)
    y[:5] = (y[:5] + 1) % 3
    counting = lab.Counting(plain.module).eval()
    victim = Victim(counting, mean=plain.mean, std=plain.std)
    change = Universal(Additive(0.03), epochs=3, together=16, skip_fooled=True).fit(victim, x, y)
    assert int(change.forwards.sum()) == counting.shown
    assert int(change.backwards.sum()) == counting.differentiated
    assert change.forwards[:5].tolist() == [1] * 5
    shown = counting.shown
    result = change(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown - shown


def test_the_model_is_left_as_it_was_also_where_gradients_are_off(lab):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    net[4].bias.grad = torch.ones(3)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    victim = Victim(net)
    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y, before = lab.answers(victim, x), x.clone()
    expected = Universal(epochs=2).fit(victim, x, y)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            inside = Universal(epochs=2).fit(victim, x + 0, y + 0)
            result = inside(victim, x + 0, y + 0)
        assert torch.equal(inside.parameters["noise"], expected.parameters["noise"])
        assert torch.equal(result.images, expected.apply(x))
    assert torch.equal(x, before)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert [parameter.grad is None for parameter in net.parameters()] == [True] * 5 + [False]


@pytest.mark.parametrize("classes", [1, 2])
def test_binary_victims(lab, classes):
    linear, _ = lab.linear_victim((1, 6, 6), classes=classes)
    victim = Victim(linear.module, task="binary")
    x = 0.3 + 0.4 * lab.images_in(UNIT, (60, 1, 6, 6))
    y = lab.answers(victim, x)
    kind = y == int(y.mode().values)
    change = Universal(Additive(0.5), epochs=5).fit(victim, x[kind], y[kind])
    assert change.success == 1.0


def test_several_labels(lab):
    linear, _ = lab.linear_victim((1, 6, 6), classes=5)
    victim = Victim(linear.module, task="multilabel")
    x = 0.3 + 0.4 * lab.images_in(UNIT, (40, 1, 6, 6))
    with torch.no_grad():
        y = (victim(x) > 0).long()
    change = Universal(Additive(0.3), epochs=5).fit(victim, x[:20], y[:20])
    result = change(victim, x[20:], y[20:])
    assert result.predictions.shape == (20, 5)
    assert torch.equal((result.predictions != y[20:]).any(1), result.success)
    assert float(result.success.double().mean()) >= 0.5


def test_a_half_precision_model(lab):
    torch.manual_seed(0)
    victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to(torch.bfloat16).eval())
    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y = lab.answers(victim, x)
    change = Universal(Additive(0.1), epochs=3).fit(victim, x, y)
    result = change(victim, x, y)
    assert result.images.dtype == torch.float32
    assert 0 < float((result.images - x).abs().max()) <= 0.1


def test_where_nothing_is_right_nothing_is_done(lab):
    victim, x, y = setting(lab, count=6)
    change = Universal().fit(victim, x, (y + 1) % 3)
    assert change.success == 0.0
    assert torch.equal(change.apply(x), x)
    assert change.forwards.tolist() == [1] * 6


def test_it_says_what_it_cannot_do(lab):
    victim, x, y = setting(lab, count=6)
    change = Universal(epochs=1).fit(victim, x, y)
    assert repr(change).startswith("UniversalChange(Additive(eps=")
    with pytest.raises(ValueError, match="images must be as large as those that the change was fitted to"):
        change.apply(x[..., 1:])
    with pytest.raises(ValueError, match="victim must have the bounds of the fit"):
        change(lab.curved_victim(bounds=CT), x, y)
    with pytest.raises(ValueError, match="ids must be each example's own, got one twice"):
        Universal().fit(victim, x, y, torch.zeros(6, dtype=torch.int64))

    class Detached(nn.Module):
        def forward(self, images):
            return (images.detach().flatten(1)[:, :3] - 0.5).clone()

    blind = Victim(Detached().eval())
    with pytest.raises(ValueError, match="the model must give a gradient to its input"):
        Universal().fit(blind, x, lab.answers(blind, x))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"perturbation": Additive}, TypeError, "perturbation must be one such as Additive"),
        ({"perturbation": FrequencyQuantisation(20.0)}, TypeError, "must not be a FrequencyQuantisation"),
        ({"perturbation": Chain((SplineBiasField(1.2), Additive(0.1)))}, TypeError, "nor a Chain with such or with"),
        ({"objective": Margin}, TypeError, "objective must be an objective"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"together": 0}, ValueError, "together must be at least 1"),
        ({"skip_fooled": 1}, TypeError, "skip_fooled must be True or False"),
        ({"step_size": 0}, ValueError, "step_size must be above 0"),
        ({"rule": "adam"}, ValueError, "rule must be one of sign, l2, l1"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Universal(**arguments)


def test_is_a_value():
    universal = Universal(Additive(0.1, "l2"), Targeted(1), epochs=3, together=4)
    assert eval(repr(universal)) == universal
    assert len({universal, Universal(), Universal(seed=1), Universal()}) == 3
