import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medadv.models import RandomisedVictim

CLASSES = 3


class RandomLinear(nn.Module):
    """Logits (W + sigma R) x + b, R drawn anew in every pass."""

    def __init__(self, pixels=16, sigma=1.0):
        super().__init__()
        self.layer = nn.Linear(pixels, CLASSES, dtype=torch.float64)
        self.sigma = sigma

    def forward(self, images):
        weight = self.layer.weight + self.sigma * torch.randn_like(self.layer.weight)
        return images.flatten(1) @ weight.T + self.layer.bias


class ResizedAndPadded(nn.Module):
    def forward(self, images):
        size = images.shape[-1]
        smaller = int(torch.randint(size - 2, size + 1, ()))
        images = F.interpolate(images, size=(smaller,) * (images.ndim - 2))
        first = torch.randint(0, size - smaller + 1, (images.ndim - 2,)).tolist()
        return F.pad(images, [side for at in first for side in (at, size - smaller - at)])


class Masked(nn.Module):
    """An operation that torch.vmap cannot batch with the same random numbers."""

    def forward(self, images):
        return images * torch.bernoulli(torch.full_like(images, 0.7))


class Noise(nn.Module):
    def forward(self, images):
        return images + 0.2 * torch.randn_like(images)


def network(*first, axes=2):
    torch.manual_seed(0)
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    body = nn.Sequential(*first, conv(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Flatten())
    net = nn.Sequential(body, nn.Linear(4 * 6**axes, CLASSES)).double().eval()
    for part in net.modules():
        if isinstance(part, nn.Dropout):
            part.train()
    return net


def images(count=6, axes=2, side=6):
    return torch.rand(count, 1, *[side] * axes, generator=torch.Generator().manual_seed(1))


def test_the_gradient_is_the_mean_gradient_of_the_draws():
    victim = RandomisedVictim(RandomLinear().eval(), draws=5)
    x = images(3, side=4).requires_grad_()
    logits = victim(x)
    drawn = []
    for number in range(5):
        one = RandomisedVictim(victim.module, draws=1)
        one._drawn = lambda inputs, _, number=number: RandomisedVictim._drawn(victim, inputs, number)
        drawn.append(one(x))
    torch.testing.assert_close(logits, torch.stack(drawn).mean(0))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), x)
    parts = [torch.autograd.grad(part[:, 1].sum(), x)[0] for part in drawn]
    assert float((parts[0] - parts[1]).abs().max()) > 0.1
    torch.testing.assert_close(gradient, torch.stack(parts).mean(0))


def test_the_mean_gradient_goes_to_the_expected_one():
    victim = RandomisedVictim(RandomLinear(sigma=0.1).eval(), draws=400)
    x = images(1, side=4).requires_grad_()
    (gradient,) = torch.autograd.grad(victim(x)[0, 2], x)
    expected = victim.module.layer.weight[2].float().reshape(1, 1, 4, 4)
    assert 0.001 < float((gradient - expected).detach().abs().max()) < 5 * 0.1 / 400**0.5


@pytest.mark.parametrize("first", [(), (Noise(),), (ResizedAndPadded(),), (Masked(),)])
@pytest.mark.parametrize("axes", [2, 3])
def test_an_answer_depends_on_no_other_image(first, axes):
    victim = RandomisedVictim(network(*first, axes=axes), draws=4)
    x = images(64, axes)
    whole = victim(x).detach()
    for rows in (*torch.arange(64).split(7)[:2], *torch.arange(64).split(1)[:3], torch.arange(64).flip(0)):
        assert torch.equal(victim(x[rows]), whole[rows])
    single = victim._drawn(x, 0).detach()
    assert float((single - victim._drawn(x, 1).detach()).abs().max()) > 1e-3


def test_a_draw_is_that_of_the_module_itself_on_a_batch_of_one():
    net = network(Noise())
    victim = RandomisedVictim(net, draws=1)
    x = images(2)
    slow = RandomisedVictim(net, draws=1)
    slow._one_by_one = True
    assert torch.equal(victim(x), slow(x))
    assert not victim._one_by_one
    with torch.no_grad():
        assert not torch.equal(net(x.double()).float(), victim(x))


def test_the_generator_is_left_as_it_was():
    victim = RandomisedVictim(network(Noise()), draws=3)
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    first = victim(images())
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(victim(images()), first)


def test_other_seeds_and_fresh_draws_are_other_draws():
    victim = RandomisedVictim(network(Noise()), draws=2, bounds=(-1.0, 2.0), mean=0.3, std=0.5, task="multilabel")
    other = victim.redrawn(1)
    assert (other.seed, other.draws, other.bounds, other.mean, other.std, other.task) == (
        1,
        2,
        victim.bounds,
        victim.mean,
        victim.std,
        victim.task,
    )
    fresh = victim.fresh(0, 0, 3, 1)
    assert (fresh.passes, victim.passes) == (1, 2)
    answers = [each(images()) for each in (victim, other, fresh, victim.fresh(0, 0, 3, 2), victim.fresh(0, 1, 3, 1))]
    for number, one in enumerate(answers):
        assert not any(torch.equal(one, another) for another in answers[number + 1 :])
    assert torch.equal(other.redrawn(0)(images()), answers[0])
    assert torch.equal(victim.redrawn(5).fresh(0, 0, 3, 1)(images()), answers[2])


def test_error_rate_counts_draws():
    victim = RandomisedVictim(network(Noise()), draws=20)
    x = images(10)
    targets = victim(x).argmax(1)
    wrong = torch.stack([victim._drawn(x, number).argmax(1) != targets for number in range(20)])
    found = victim.error_rate(x, targets)
    torch.testing.assert_close(found, wrong.float().mean(0))
    assert 0 < float(found.mean()) < 0.5


@pytest.mark.parametrize("draw", [random.random, np.random.random])
def test_numbers_from_elsewhere_are_refused(draw):
    class Elsewhere(nn.Module):
        def forward(self, inputs):
            return (inputs + draw()).flatten(1)

    victim = RandomisedVictim(Elsewhere().eval())
    with pytest.raises(ValueError, match="must draw its random numbers from torch's generator"):
        victim.check(images(2, side=2), torch.zeros(2, dtype=torch.int64))


def test_only_dropout_may_be_in_training_mode():
    victim = RandomisedVictim(network(), draws=2)
    y = torch.zeros(6, dtype=torch.int64)
    victim.check(images(), y)
    victim.module[1].train()
    with pytest.raises(ValueError, match="its part '1' is in training mode"):
        victim.check(images(), y)


def test_a_model_that_cannot_read_the_images_says_so():
    with pytest.raises(ValueError, match="the model cannot read images of shape"):
        RandomisedVictim(network(), draws=2).check(images(side=7), torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_tasks(task):
    net = nn.Sequential(Noise(), nn.Flatten(), nn.Linear(36, 1 if task == "binary" else 4)).eval()
    victim = RandomisedVictim(net, draws=3, task=task)
    y = torch.zeros(6, dtype=torch.int64) if task == "binary" else torch.zeros(6, 4, dtype=torch.int64)
    assert victim.clean_logits(images(), y).shape == (6, 2 if task == "binary" else 4)
    assert repr(victim) == f"RandomisedVictim(Sequential, task={task}, bounds=(0.0, 1.0), draws=3, seed=0)"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"task": "guess"}, ValueError, "task must be one of"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        RandomisedVictim(network(), **arguments)


def test_layers_cannot_be_looked_at():
    with pytest.raises(ValueError, match="layers cannot be looked at in a randomised victim"):
        RandomisedVictim(network()).look(images(), ["0.0"])
