"""Energies of a dense displacement against plain PyTorch, eager and compiled, and against libraries; copying the
field is the floor."""

import pytest
import torch

from benchmarks import peers, plain_torch
from medadv import ops

OPERATIONS = ["membrane_energy", "total_variation", "bending_energy", "folding_penalty"]


def pairs(*plain, gradients=False):
    """Every operation with everyone who has it."""
    return [
        (operation, contender)
        for operation in OPERATIONS
        for contender in ("medadv", *plain, *peers.names(operation, gradients=gradients))
    ]


def contender_named(name, operation, u):
    """What runs on a displacement."""
    if name == "medadv":
        return getattr(ops, operation)
    if name == "copy":
        out = torch.empty_like(u)
        return lambda u: out.copy_(u)
    if name in peers.PEERS:
        return peers.make(name, operation, u)
    eager = getattr(plain_torch, operation)
    return torch.compile(eager) if name == "compiled" else eager


@pytest.fixture
def displacement(case):
    """Noise, which folds in many places, and the name of the size."""
    size, image, _, _ = case
    axes = image.dim() - 2
    g = torch.Generator().manual_seed(0)
    return size, torch.randn((image.shape[0], axes, *image.shape[2:]), generator=g).to(image.device)


@pytest.mark.parametrize(("operation", "contender"), pairs("eager", "compiled", "copy"))
def test_forward(compete, displacement, contender, operation):
    size, u = displacement
    run = contender_named(contender, operation, u)
    with torch.no_grad():
        compete(run, (u,), operation=operation, mode="forward", size=size, contender=contender)


@pytest.mark.parametrize(("operation", "contender"), pairs("eager", "compiled", gradients=True))
def test_backward(compete_backward, displacement, contender, operation):
    size, u = displacement
    function = contender_named(contender, operation, u)
    compete_backward(
        lambda u: function(u).sum(),
        (u,),
        (u,),
        None,
        operation=operation,
        mode="forward+backward",
        size=size,
        contender=contender,
    )
