"""Energies of a displacement, dense or of a lattice, against plain PyTorch, eager and compiled, and against libraries;
copying a dense field is the floor."""

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


@pytest.mark.parametrize("operation", LATTICE_OPERATIONS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_lattice_forward(compete, displacement_lattice, device, contender, operation):
    name, lattice, size = displacement_lattice
    function = lattice_contenders(operation, size, lattice.shape[2:], device)[contender]
    with torch.no_grad():
        compete(
            function, (scaled(operation, lattice),), operation=operation, mode="forward", size=name, contender=contender
        )


@pytest.mark.parametrize("operation", LATTICE_OPERATIONS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_lattice_backward(compete_backward, displacement_lattice, device, contender, operation):
    name, lattice, size = displacement_lattice
    function = lattice_contenders(operation, size, lattice.shape[2:], device)[contender]
    lattice = scaled(operation, lattice)
    compete_backward(
        lambda c: function(c).sum(),
        (lattice,),
        (lattice,),
        None,
        operation=operation,
        mode="forward+backward",
        size=name,
        contender=contender,
    )


def scaled(operation, lattice):
    return 0.05 * lattice if operation.endswith("no fold") else lattice
