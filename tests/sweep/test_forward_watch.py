"""What a model does while it answers is seen, however it does it."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd import grad as imported_before
from torch.utils.checkpoint import checkpoint

from medadv.sweep.forward_watch import ForwardWatch

WEIGHT = torch.linspace(-1, 1, 16).reshape(16, 1).requires_grad_()


def energy(images):
    return (images.flatten(1) @ WEIGHT).square().sum()


def by_grad(images):
    leaf = images.detach().requires_grad_()
    return images - imported_before(energy(leaf), leaf)[0]


def by_backward(images):
    leaf = images.detach().requires_grad_()
    energy(leaf).backward()
    WEIGHT.grad = None
    return images - leaf.grad


def by_an_optimiser(images):
    leaf = images.detach().clone().requires_grad_()
    optimiser = torch.optim.SGD([leaf], lr=0.1)
    energy(leaf).backward()
    optimiser.step()
    WEIGHT.grad = None
    return leaf


def by_a_transform(images):
    return images - torch.func.grad(energy)(images.detach())


def of_a_sum(images):
    """Not one tensor is saved for this backward pass."""
    leaf = torch.zeros_like(images).requires_grad_()
    return images - torch.autograd.grad(leaf.sum(), leaf)[0]


@pytest.mark.parametrize("inner", [by_grad, by_backward, by_an_optimiser, by_a_transform, of_a_sum])
def test_every_inner_backward_pass_is_seen(inner):
    images = torch.rand(2, 1, 4, 4).requires_grad_()
    with torch.enable_grad(), ForwardWatch() as watch:
        inner(images)
    assert watch.backward_operations > 0
    with ForwardWatch() as after:
        energy(images)
    assert after.backward_operations == 0


@pytest.mark.parametrize(
    "forward",
    [
        energy,
        partial(checkpoint, energy, use_reentrant=False),
        torch.func.vmap(energy),
        lambda images: energy(images.detach()),
    ],
)
def test_a_plain_forward_pass_is_none(forward):
    images = torch.rand(2, 1, 4, 4).requires_grad_()
    with torch.enable_grad(), ForwardWatch() as watch:
        value = forward(images)
    assert watch.backward_operations == 0
    if value.requires_grad:
        value.sum().backward()
        WEIGHT.grad = None
    assert watch.backward_operations == 0


def test_dice_and_steps_are_named():
    images = torch.rand(2, 1, 4, 4)
    with ForwardWatch() as watch:
        nn.functional.dropout(images + torch.randn(4), 0.5, training=True).mul(16).round().floor_()
    assert watch.random_operations == {"randn", "bernoulli"}
    assert watch.stepped_operations == {"round", "floor"}
    with ForwardWatch() as watch:
        nn.functional.relu(images).amax(dim=1)
    assert watch.random_operations == watch.stepped_operations == set()
