"""compose and exponentiate (seven squarings) against plain PyTorch, eager and compiled."""

import pytest
import torch

from benchmarks import plain_torch
from benchmarks.bench_warp import displacement_lattice
from medadv import ops


def contenders(operation, size, device):
    eager = getattr(plain_torch.Flow(size, device), operation)
    return {"medadv": getattr(ops, operation), "eager": eager, "compiled": torch.compile(eager)}


@pytest.mark.parametrize("mode", ["forward", "forward+backward"])
@pytest.mark.parametrize("operation", ["compose", "exponentiate"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_flow(compete, case, device, contender, operation, mode):
    name, image, lattice, _ = case
    size = image.shape[2:]
    field = ops.spline_field(displacement_lattice(lattice), size)
    function = contenders(operation, size, device)[contender]
    backward = mode == "forward+backward"
    fields = [field, field.flip(0)] if operation == "compose" else [field]
    inputs = [f.clone().requires_grad_(backward) for f in fields]
    grad = torch.rand(field.shape, generator=torch.Generator().manual_seed(0)).to(device)

    def run():
        out = function(*inputs)
        if backward:
            torch.autograd.grad(out, inputs, grad)

    compete(run, operation=operation, mode=mode, size=name, contender=contender)
