"""compose and exponentiate (seven squarings) against plain PyTorch, eager and compiled."""

import pytest
import torch

from benchmarks import plain_torch
from benchmarks.bench_warp import displacement_lattice
from medadv import ops


def contenders(operation, size, device):
    eager = getattr(plain_torch.Flow(size, device), operation)
    return {"medadv": getattr(ops, operation), "eager": eager, "compiled": torch.compile(eager)}


@pytest.fixture
def fields(case):
    """Two displacements of B-splines that do not fold, and the name of the size."""
    name, image, lattice, _ = case
    field = ops.spline_field(displacement_lattice(lattice), image.shape[2:])
    return name, field, field.flip(0).contiguous()


@pytest.mark.parametrize("operation", ["compose", "exponentiate"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_forward(compete, fields, device, contender, operation):
    name, *both = fields
    function = contenders(operation, both[0].shape[2:], device)[contender]
    inputs = tuple(both if operation == "compose" else both[:1])
    with torch.no_grad():
        compete(function, inputs, operation=operation, mode="forward", size=name, contender=contender)


@pytest.mark.parametrize("operation", ["compose", "exponentiate"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_backward(compete_backward, fields, device, contender, operation):
    name, *both = fields
    function = contenders(operation, both[0].shape[2:], device)[contender]
    inputs = tuple(both if operation == "compose" else both[:1])
    grad = torch.rand(both[0].shape, generator=torch.Generator().manual_seed(0)).to(device)
    row = {"operation": operation, "mode": "forward+backward", "size": name, "contender": contender}
    compete_backward(function, inputs, inputs, grad, **row)
