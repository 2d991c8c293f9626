import pytest
import torch
from torch import nn

from medadv.attacks import PGD, Diversity, Gradient, Search, maximise
from medadv.attacks.randomness import Draw
from medadv.attacks.search.estimate import Estimate
from medadv.models import Victim
from medadv.objectives import CrossEntropy, Margin
from medadv.perturbations import Additive, SplineBiasField

UNIT = (0.0, 1.0)
OPTIONS = {
    "plain": Gradient(),
    "nesterov": Gradient(nesterov=True),
    "scales": Gradient(scales=3),
    "diversity": Gradient(diversity=Diversity()),
    "translation": Gradient(translation=1.0),
    "neighbours": Gradient(neighbours=2),
    "all": Gradient(True, 2, Diversity(), 0.8, 2, 0.5),
}
# Forward and backward passes per step beyond one of each.
MORE = {
    "plain": (0, 0),
    "nesterov": (1, 0),
    "scales": (2, 2),
    "diversity": (1, 0),
    "translation": (0, 0),
    "neighbours": (2, 2),
    "all": (6, 5),
}


def draw(count=3):
    return Draw(0, torch.arange(count), 0)


def quadratic(weight):
    """Gradients of sum(weight view(x)^2) / 2, and of what they were asked."""
    asked = []

    def slope(parameters, view, sample):
        noise = parameters["noise"].detach().requires_grad_()
        value = (weight * view(noise) ** 2).sum() / 2
        asked.append(noise.detach())
        return {"noise": torch.autograd.grad(value, noise)[0]}

    return slope, asked


def test_plain_is_the_gradient_itself_and_asks_nothing():
    gradient = {"noise": torch.randn(3, 1, 4, 4)}
    slope, asked = quadratic(torch.ones(4, 4))
    estimate = Estimate(Gradient(), {"noise": 1.0}, UNIT)
    found = estimate(gradient, gradient, gradient["noise"], slope, draw())
    assert torch.equal(found["noise"], gradient["noise"])
    assert not asked


def test_samples_are_averaged():
    asked = []

    def slope(parameters, view, sample):
        asked.append(sample)
        return {"noise": torch.full_like(parameters["noise"], 3.0 * sample)}

    x = {"noise": torch.zeros(2, 1, 4, 4)}
    found = Estimate(Gradient(samples=3, scales=2), {"noise": 1.0}, UNIT)(x, None, x["noise"], slope, draw(2))["noise"]
    assert asked == [0, 0, 1, 1, 2, 2]
    assert torch.equal(found, torch.full_like(found, 3.0))


@pytest.mark.parametrize("low", [0.0, -0.5])
def test_scales_average_over_darker_copies(low):
    weight = torch.rand(4, 4)
    x = torch.rand(3, 1, 4, 4)
    slope, asked = quadratic(weight)
    own = weight * x
    estimate = Estimate(Gradient(scales=3), {"noise": 1.0}, (low, 1.0))
    found = estimate({"noise": x}, {"noise": own}, x, slope, draw())["noise"]
    copies = [weight * (low + (x - low) / 2**power) / 2**power for power in range(3)]
    torch.testing.assert_close(found, sum(copies) / 3)
    assert len(asked) == 2


def test_translation_is_a_convolution_with_a_gaussian_that_ends_at_the_border():
    gradient = torch.randn(2, 1, 9, 9)
    estimate = Estimate(Gradient(translation=1.0), {"noise": 1.0}, UNIT)
    found = estimate({"noise": gradient}, {"noise": gradient}, gradient, None, draw(2))["noise"]
    taps = torch.exp(-(torch.arange(-3, 4.0) ** 2) / 2)
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    torch.testing.assert_close(found, nn.functional.conv2d(gradient, kernel[None, None], padding=3))


def test_the_translation_of_the_paper_has_fifteen_taps():
    spike = torch.zeros(1, 1, 31, 31)
    spike[0, 0, 15, 15] = 1
    estimate = Estimate(Gradient(translation=7 / 3), {"noise": 1.0}, UNIT)
    found = estimate({"noise": spike}, {"noise": spike}, spike, None, draw(1))["noise"]
    assert int((found[0, 0, 15] > 0).sum()) == 15


def test_neighbours_correct_the_next_gradient():
    weight = torch.rand(4, 4) + 0.5
    slope, asked = quadratic(weight)
    estimate = Estimate(Gradient(neighbours=5, neighbourhood=1.5), {"noise": 0.1}, UNIT)
    first, second = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    numbers = draw()
    found = estimate({"noise": first}, {"noise": weight * first}, first, slope, numbers)["noise"]
    torch.testing.assert_close(found, weight * first)
    offsets = torch.stack(asked) - first
    assert len(asked) == 5
    assert 0.1 < float(offsets.abs().max()) <= 0.15
    again = estimate({"noise": second}, {"noise": weight * second}, second, slope, numbers)["noise"]
    torch.testing.assert_close(again, weight * second + weight * offsets.mean(0), rtol=1e-4, atol=1e-6)


def test_neighbours_that_leave_take_their_memory_along():
    slope, _ = quadratic(torch.rand(4, 4))
    x = {"noise": torch.rand(3, 1, 4, 4)}
    kept = torch.tensor([True, False, True])
    together, alone = (Estimate(Gradient(neighbours=2), {"noise": 0.1}, UNIT) for _ in range(2))
    rest = {"noise": x["noise"][kept]}
    numbers, fewer = draw(), Draw(0, torch.tensor([0, 2]), 0)
    together(x, x, x["noise"], slope, numbers)
    alone(rest, rest, rest["noise"], slope, fewer)
    together.keep(kept)
    numbers.keep(kept)
    found = together(rest, rest, rest["noise"], slope, numbers)["noise"]
    assert torch.equal(found, alone(rest, rest, rest["noise"], slope, fewer)["noise"])


def setting(lab, count=40, axes=2, bounds=UNIT, channels=1):
    victim = lab.curved_victim(axes=axes, bounds=bounds, channels=channels)
    x = lab.images_in(bounds, (count, channels, *[8, 7, 6][:axes]))
    return victim, x, lab.answers(victim, x)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("family", [Additive(0.03), SplineBiasField(1.3, spacing=3)])
def test_results_do_not_depend_on_batch_size_or_order(lab, name, family):
    victim, x, y = setting(lab, 64)
    search = Search(4, momentum=0.9, gradient=OPTIONS[name], restarts=2)
    whole = maximise(search, family, CrossEntropy(), victim, x, y, torch.arange(64))
    assert whole.success.any()
    assert whole.robust.any()
    orders = [*torch.arange(64).split(7)[:3], *torch.arange(64).split(1)[:4], torch.arange(64).flip(0)]
    for rows in orders:
        part = maximise(search, family, CrossEntropy(), victim, x[rows], y[rows], rows)
        for field in ("images", "status", "predictions", "forwards", "backwards", "step", "distance"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rows]), field


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("stop_early", [True, False])
def test_passes_are_counted_and_no_more_than_needed(lab, name, stop_early):
    victim, x, y = setting(lab)
    victim.module = counting = lab.Counting(victim.module).eval()
    search = Search(4, momentum=0.9, gradient=OPTIONS[name], stop_early=stop_early)
    result = maximise(search, Additive(0.02), CrossEntropy(), victim, x, y, torch.arange(40))
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    forwards, backwards = MORE[name]
    assert result.robust.any()
    assert set(result.forwards[result.robust].tolist()) == {1 + 4 * (1 + forwards) + 1}
    assert set(result.backwards[result.robust].tolist()) == {4 * (1 + backwards)}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("bounds", [UNIT, (-1024.0, 3071.0)])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_keeps_budget_and_bounds_and_fools(lab, name, axes, bounds, norm):
    victim, x, y = setting(lab, 20, axes, bounds, channels=3)
    eps = {"linf": 0.1, "l2": 1.0, "l1": 16.0}[norm]
    result = PGD(eps, norm, steps=6, momentum=0.9, gradient=OPTIONS[name])(victim, x, y)
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    change = (result.images.double() - x.double()).flatten(1)
    order = {"linf": float("inf"), "l2": 2, "l1": 1}[norm]
    assert 0 < float(change.norm(order, dim=1).max()) <= eps * (bounds[1] - bounds[0])
    assert result.robust_accuracy < 0.8


def test_an_option_changes_the_path_but_not_the_goal(lab):
    victim, x, y = setting(lab)
    plain = PGD(0.02, steps=5, momentum=0.9, stop_early=False, objective=Margin())
    start = Margin()(victim(x), y).detach()
    reference = plain(victim, x, y)
    for name, gradient in OPTIONS.items():
        other = PGD(0.02, steps=5, momentum=0.9, stop_early=False, objective=Margin(), gradient=gradient)
        result = other(victim, x, y)
        assert torch.equal(result.images, reference.images) == (name == "plain")
        gain = (result.loss - start) / (reference.loss - start)
        assert float(gain.mean()) > 0.4, name


def test_nesterov_looks_ahead_along_the_running_sum(lab):
    seen = []

    class Watching(nn.Module):
        def forward(self, images):
            seen.append(images.detach().clone())
            return torch.stack([-(images.flatten(1) ** 2).sum(1), images.flatten(1).sum(1)], 1)

    x = torch.tensor([[0.5, 0.25], [0.5, 0.75]])[:, None, None]
    victim = Victim(Watching().eval())
    y = victim.task.predict(victim(x))
    seen.clear()
    search = Search(2, "l2", 0.1, momentum=1.0, random_start=False, stop_early=False, gradient=Gradient(nesterov=True))
    maximise(search, Additive(0.5, "l2"), Margin(), victim, x, y, torch.arange(2))
    # Clean, then per step where the victim is asked and where the gradient is taken, then the end.
    assert len(seen) == 6
    assert torch.equal(seen[1], seen[2])
    moved, ahead = seen[3] - x, seen[4] - seen[3]
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((2,), 0.05))
    # Along the same direction; two entries of one size would make a step of 0.05.
    torch.testing.assert_close(ahead.abs().flatten(1).mean(1), torch.full((2,), 0.05 / 2**0.5))
    torch.testing.assert_close(ahead / ahead.flatten(1).norm(dim=1).reshape(2, 1, 1, 1), moved / 0.05)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"nesterov": 1}, TypeError, "nesterov must be True or False"),
        ({"scales": 0}, ValueError, "scales must be at least 1"),
        ({"diversity": 0.5}, TypeError, "diversity must be a Diversity or None"),
        ({"translation": -1}, ValueError, "translation must be at least 0"),
        ({"neighbours": -1}, ValueError, "neighbours must be at least 0"),
        ({"neighbourhood": 0}, ValueError, "neighbourhood must be above 0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Gradient(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"gradient": "nesterov"}, TypeError, "gradient must be a Gradient"),
        ({"gradient": Gradient(nesterov=True)}, ValueError, "momentum must be above 0 for a nesterov gradient"),
        (
            {"adaptive": True, "momentum": 0.5},
            ValueError,
            "momentum must be 0 for adaptive steps, which have their own",
        ),
        ({"adaptive": True, "rule": "adam"}, ValueError, 'rule must not be "adam" for adaptive steps'),
        ({"adaptive": 1}, TypeError, "adaptive must be True or False"),
        ({"reach": 0}, ValueError, "reach must be above 0"),
    ],
)
def test_searches_that_cannot_be(arguments, error, words):
    with pytest.raises(error, match=words):
        Search(5, **arguments)


def test_gradients_are_values():
    assert Gradient() == Gradient(scales=1, translation=0)
    assert hash(Gradient(translation=1)) == hash(Gradient(translation=1.0))
    assert Gradient().plain
    assert not any(option.plain for name, option in OPTIONS.items() if name != "plain")
