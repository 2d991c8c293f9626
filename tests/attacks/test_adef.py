"""ADef beside closed forms, and what only deformations have; the battery is in `test_minimum_norm.py`."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from medadv.attacks import ADef, FlowAttack
from medadv.models import Victim
from medadv.objectives import Margin
from medadv.perturbations import Flow

RANGES = [(0.0, 1.0), (-1024.0, 3071.0)]
SHAPES = [(1, 9, 8), (3, 8, 7), (4, 8, 8), (1, 6, 7, 8)]


def slope(image, axis):
    """To the right of every voxel; beyond the border the image goes on."""
    return np.diff(image, axis=axis, append=np.take(image, [-1], axis=axis))


def step_of_a_linear_model(weight, image, lacking, smoothing):
    """The first step [D, *S]: of all blurred fields the one with the shortest field before the blur."""
    axes = image.ndim - 1
    slopes = [(weight * slope(image, 1 + axis)).sum(0) for axis in range(axes)]
    options = {"sigma": smoothing, "mode": "constant", "radius": int(np.ceil(4 * smoothing))}
    once = np.stack([ndimage.gaussian_filter(field, **options) for field in slopes])
    return lacking / (once**2).sum() * np.stack([ndimage.gaussian_filter(field, **options) for field in once])


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("smoothing", [0.7, 1.0])
def test_the_first_step_is_that_of_the_paper(lab, bounds, shape, smoothing):
    low, high = bounds
    victim, weight = lab.linear_victim(shape, 2, bounds=bounds, mean=low, std=high - low)
    x = lab.images_in(bounds, (3, *shape))
    y = lab.answers(victim, x)
    seen = []
    watched = Watching(victim.module, seen)
    victim = Victim(watched.eval(), bounds=bounds, mean=low, std=high - low)
    ADef(smoothing, steps=1)(victim, x, y)
    for row in range(3):
        towards = (weight[1 - y[row]] - weight[y[row]]).numpy()
        with torch.no_grad():
            logits = victim(x[row : row + 1])[0].double()
        lacking = float(logits[y[row]] - logits[1 - y[row]]) + 1e-5 * max(1.0, float(logits.abs().max()))
        share = (x[row].double().numpy() - low) / (high - low)
        flow = 1.2 * step_of_a_linear_model(towards, share, lacking, smoothing)
        expected = Flow(99.0).apply(x[row : row + 1], {"flow": torch.from_numpy(flow)[None].float()}, bounds)
        shown = low + (high - low) * seen[1][row]
        torch.testing.assert_close(shown, expected[0].to(shown.dtype), rtol=0, atol=2e-4 * (high - low))


class Watching(nn.Module):
    """Writes down what it is shown."""

    def __init__(self, module, seen):
        super().__init__()
        self.module, self.seen = module, seen

    def forward(self, images):
        self.seen.append(images.detach().clone())
        return self.module(images)


def brightness_victim(shape, threshold):
    """Class 1 where the mean brightness is above the threshold."""
    pixels = torch.Size(shape).numel()
    layer = nn.Linear(pixels, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros(pixels), torch.full((pixels,), 1 / pixels)]))
        layer.bias.copy_(torch.tensor([threshold, 0.0]))
    return Victim(nn.Sequential(nn.Flatten(), layer).eval())


@pytest.mark.parametrize("shape", [(1, 12, 24), (1, 6, 12, 24)])
def test_a_ramp_moves_towards_the_light_as_far_as_is_needed(shape):
    # The brightness of a ramp rises by the slope times the mean displacement, so that one step is all it takes.
    slope = 0.5 / (shape[-1] - 1)
    x = (0.25 + slope * torch.arange(shape[-1])).expand(2, *shape).contiguous()
    rise = 0.4 * slope
    attack = ADef(overshoot=0.1, kappa=0.0)
    result = attack(brightness_victim(shape, 0.5 + rise), x, torch.zeros(2, dtype=torch.int64))
    assert result.success.all()
    assert result.step.tolist() == [1, 1]
    flow = result.parameters["flow"].double()
    assert float(flow[:, :-1].abs().max()) <= 1e-4
    inside = flow[:, -1, ..., :-1]
    assert float(inside.min()) >= 0
    # Not the last column, beyond which there is nothing brighter.
    assert float(inside.sum()) / x.numel() == pytest.approx(1.1 * 0.4, rel=1e-3)
    assert torch.equal(result.distance, torch.linalg.vector_norm(flow, dim=1).flatten(1).amax(1))


def test_a_higher_boundary_takes_a_larger_displacement():
    shape = (1, 12, 24)
    slope = 0.5 / 23
    x = (0.25 + slope * torch.arange(24)).expand(1, *shape).contiguous()
    needed = [0.1, 0.3, 0.9]
    found = [
        float(ADef()(brightness_victim(shape, 0.5 + share * slope), x, torch.zeros(1).long()).distance)
        for share in needed
    ]
    np.testing.assert_allclose(np.array(found) / found[0], np.array(needed) / needed[0], rtol=0.02)


def test_the_class_with_the_smallest_displacement_is_chosen(lab):
    victim = lab.curved_victim(classes=5)
    x = lab.images_in((0.0, 1.0), (20, 1, 12, 12))
    y = lab.answers(victim, x)
    few, many = (ADef(classes=classes)(victim, x, y) for classes in (2, 5))
    both = few.success & many.success
    assert both.sum() > 10
    assert float(many.distance[both].mean()) < float(few.distance[both].mean())


def smooth_images(count, size):
    noise = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))
    blurred = torch.from_numpy(ndimage.gaussian_filter(noise.numpy(), (0, 0, 2, 2)))
    low, high = blurred.amin((2, 3), keepdim=True), blurred.amax((2, 3), keepdim=True)
    return (blurred - low) / (high - low)


def test_finds_are_about_as_near_as_those_of_a_search_within_a_budget(lab):
    victim = lab.curved_victim()
    x = smooth_images(40, 16)
    y = lab.answers(victim, x)
    result = ADef(smoothing=0.5)(victim, x, y)
    assert float(result.success_within(3).double().mean()) >= 0.5
    budget = float(result.distance[result.success].median())
    searched = FlowAttack(2 * budget, smoothness=0.0, steps=40, objective=Margin())(victim, x, y)
    # Free vectors with twice the room, signs and not slopes: what ADef does within a budget they do within its double.
    within = result.success_within(budget)
    assert float(searched.success[within].double().mean()) >= 0.9
    assert float(within.double().mean()) >= 0.3


def test_smoothing_makes_smoother_fields(lab):
    victim = lab.curved_victim()
    x = smooth_images(20, 16)
    y = lab.answers(victim, x)
    rough, smooth = (ADef(smoothing)(victim, x, y) for smoothing in (0.0, 2.0))

    def roughness(result):
        flow = result.parameters["flow"][rough.success & smooth.success]
        return float(flow.diff(dim=-1).square().mean() / flow.square().mean())

    assert roughness(smooth) < 0.5 * roughness(rough)


def test_a_flat_image_cannot_be_moved(lab):
    victim, _ = lab.linear_victim((1, 8, 8))
    x = torch.full((3, 1, 8, 8), 0.5)
    result = ADef(steps=3)(victim, x, lab.answers(victim, x))
    assert result.robust.all()
    assert torch.equal(result.images, x)
    assert result.distance.tolist() == [0.0] * 3


def test_several_labels(lab):
    net, _ = lab.linear_victim((1, 8, 8), classes=6)
    victim = Victim(net.module, task="multilabel")
    x = lab.images_in((0.0, 1.0), (12, 1, 8, 8))
    with torch.no_grad():
        y = (victim(x) > 0).long()
    result = ADef()(victim, x, y)
    assert result.success.sum() >= 10
    assert torch.equal((result.predictions != y).any(1), result.success)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"smoothing": -1}, ValueError, "smoothing must be at least 0"),
        ({"overshoot": "1"}, TypeError, "overshoot must be a number"),
        ({"classes": 1}, ValueError, "classes must be at least 2"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        ADef(**arguments)


def test_is_a_value():
    attack = ADef(2.0, steps=5)
    assert eval(repr(attack)) == attack == dataclasses.replace(ADef(), smoothing=2.0, steps=5)
    assert attack.configuration()["name"] == "adef"
