"""Whole evaluations of models with a planted fault: exactly the checks that are there for it must fail."""

import pytest
import torch
from torch import nn

from medadv.sweep.evaluate import evaluate


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


class Straight(torch.autograd.Function):
    """Rounds to steps that are wider than the budget; the gradient does not know."""

    @staticmethod
    def forward(context, images):
        return (images * 12).round() / 12

    @staticmethod
    def backward(context, gradient):
        return gradient


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(context, images):
        return images.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


def quantised(images):
    return (images * 16).round() / 16


def shattered(images):
    """Waves of a height of 0.004 and a slope of 40: no step of an attack can follow them."""
    return images + 0.004 * torch.sin(1e4 * images)


def half_detached(images):
    return (images + images.detach()) / 2


def rows_without_gradient(images):
    """Every second row is detached: the gradient has its right size, where there is one."""
    seen = torch.arange(images.shape[2]).reshape(1, 1, -1, 1) % 2 == 0
    return torch.where(seen, images, images.detach())


def noisy(images):
    return images + 0.05 * torch.randn(len(images), 1, 1, images.shape[-1], dtype=images.dtype)


def purified(images):
    """Two steps of gradient descent towards an even image, outside of what an attack differentiates."""
    with torch.enable_grad():
        better = images.detach().clone().requires_grad_()
        for _ in range(2):
            roughness = (better - better.mean(dim=(2, 3), keepdim=True)).square().sum()
            (slope,) = torch.autograd.grad(roughness, better)
            better = (better - 0.1 * slope).detach().requires_grad_()
    return images + (better - images).detach()


def outcomes(evaluation, folder):
    store = evaluate(evaluation, folder / "out")
    table = store.query('SELECT "check", outcome FROM rows', kind="check")
    return {
        outcome: {name for name, had in zip(table["check"], table["outcome"], strict=True) if had == outcome}
        for outcome in ("failed", "not run")
    }


FAULTS = {
    "quantised": (quantised, {"C3", "C6", "C8", "C14", "C15", "C16", "C17", "C18"}),
    "straight through": (Straight.apply, {"C17"}),
    "reversed": (Reversed.apply, {"C6", "C8", "C14", "C15", "C16", "C17", "C18"}),
    "shattered": (shattered, {"C6", "C7", "C8", "C9", "C14", "C15", "C16", "C17", "C18"}),
    "half detached": (half_detached, {"C17"}),
    "rows without gradient": (rows_without_gradient, {"C6", "C16", "C17"}),
    "purified": (purified, {"C4", "C17"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_exactly_these_checks_fail(job, tmp_path, fault):
    edge, expected = FAULTS[fault]
    found = outcomes(job.evaluation(job.BrighterHalf(edge=Wrapped(edge))), tmp_path)
    assert found["failed"] == expected
    assert found["not run"] == set()


def test_saturated_logits(job, tmp_path):
    """The gradient of the cross-entropy vanishes, that of the margin does not: the model hides nothing (C17)."""
    found = outcomes(job.evaluation(job.BrighterHalf(scale=1e6, dtype=torch.float32)), tmp_path)
    assert found["failed"] == {"C3", "C6", "C8", "C14", "C15", "C16", "C18"}


def test_random_answers(job, tmp_path):
    """Which image withstands is up to the dice; that they are thrown is not."""
    torch.manual_seed(0)
    found = outcomes(job.evaluation(job.BrighterHalf(edge=Wrapped(noisy))), tmp_path)
    assert {"C2", "C13", "C17", "C18"} <= found["failed"]
    assert found["failed"].isdisjoint({"C1", "C3", "C4", "C5", "C10", "C11", "C12", "C15", "C19", "C20"})


def test_a_model_that_adapts_its_weights_to_what_it_sees(job, tmp_path):
    """Its answers drift, and its weights are others after the evaluation."""

    class Adapting(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, images):
            with torch.enable_grad():
                loss = (images.detach() + self.shift).square().mean()
                (slope,) = torch.autograd.grad(loss, self.shift)
            with torch.no_grad():
                self.shift -= 1e-6 * slope
            return images + self.shift.detach()

    found = outcomes(job.evaluation(job.BrighterHalf(edge=Adapting())), tmp_path)
    assert found["failed"] == {"C2", "C4", "C19"}
