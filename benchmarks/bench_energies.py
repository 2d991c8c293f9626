"""Energies of a displacement, dense or of a lattice, against plain PyTorch, eager and compiled; copying a dense field
is the floor."""

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


LATTICE_OPERATIONS = ("jacobian_determinant of a lattice", "folding_penalty of a lattice", "folding_penalty of no fold")


@pytest.fixture
def displacement_lattice(case):
    """Control points that move as far as they are apart, which folds in many places."""
    size, image, lattice, _ = case
    axes, knots = image.dim() - 2, lattice.shape[2:]
    spacing = (image.shape[-1] - 1) / (knots[-1] - 3)
    g = torch.Generator().manual_seed(0)
    return size, torch.randn((image.shape[0], axes, *knots), generator=g).mul(spacing).to(image.device), image.shape[2:]


def lattice_contenders(operation, size, knots, device):
    plain = plain_torch.LatticeJacobian(size, knots, device)
    if operation.startswith("jacobian_determinant"):
        ours, eager = lambda c: ops.jacobian_determinant(c, size), plain
    else:
        ours, eager = lambda c: ops.folding_penalty(c, size), plain.folding_penalty
    return {"medadv": ours, "eager": eager, "compiled": torch.compile(eager)}


@pytest.mark.parametrize("mode", ["forward", "forward+backward"])
@pytest.mark.parametrize("operation", LATTICE_OPERATIONS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_lattice(compete, displacement_lattice, device, contender, operation, mode):
    name, lattice, size = displacement_lattice
    function = lattice_contenders(operation, size, lattice.shape[2:], device)[contender]
    if operation.endswith("no fold"):
        lattice = 0.05 * lattice
    backward = mode == "forward+backward"
    lattice.requires_grad_(backward)

    def run():
        out = function(lattice)
        if backward:
            torch.autograd.grad(out.sum(), lattice)

    compete(run, operation=operation, mode=mode, size=name, contender=contender)
