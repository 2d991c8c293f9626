"""Energies of a dense displacement against plain PyTorch, eager and compiled; copying the field is the floor."""

import pytest
import torch

from benchmarks import plain_torch
from medadv import ops

CONTENDERS = {
    "membrane_energy": (ops.membrane_energy, plain_torch.membrane_energy),
    "total_variation": (ops.total_variation, plain_torch.total_variation),
    "bending_energy": (ops.bending_energy, plain_torch.bending_energy),
    "folding_penalty": (ops.folding_penalty, plain_torch.folding_penalty),
}


def contenders(operation):
    ours, eager = CONTENDERS[operation]
    return {"medadv": ours, "eager": eager, "compiled": torch.compile(eager)}


@pytest.fixture
def displacement(case):
    """Noise, which folds in many places, and the name of the size."""
    size, image, _, _ = case
    axes = image.dim() - 2
    g = torch.Generator().manual_seed(0)
    return size, torch.randn((image.shape[0], axes, *image.shape[2:]), generator=g).to(image.device)


@pytest.mark.parametrize("operation", CONTENDERS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy"])
def test_forward(compete, displacement, contender, operation):
    size, u = displacement
    out = torch.empty_like(u)
    run = {**contenders(operation), "copy": lambda u: out.copy_(u)}[contender]
    with torch.no_grad():
        compete(lambda: run(u), operation=operation, mode="forward", size=size, contender=contender)


@pytest.mark.parametrize("operation", CONTENDERS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_backward(compete, displacement, contender, operation):
    size, u = displacement
    u.requires_grad_()
    function = contenders(operation)[contender]

    def run():
        torch.autograd.grad(function(u).sum(), u)

    compete(run, operation=operation, mode="forward+backward", size=size, contender=contender)
