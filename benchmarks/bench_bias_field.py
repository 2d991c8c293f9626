"""bias_field against plain PyTorch, eager and compiled; copying the image is the floor."""

import pytest
import torch

from benchmarks import plain_torch
from medadv import ops


def contenders(size, knots, device):
    matrices = plain_torch.bases(size, knots, device)

    def eager(image, lattice):
        return plain_torch.bias_field(image, lattice, matrices)

    return {"medadv": ops.bias_field, "eager": eager, "compiled": torch.compile(eager)}


@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy"])
def test_forward(compete, case, device, contender):
    size, image, lattice, _ = case
    out = torch.empty_like(image)
    chosen = contenders(image.shape[2:], lattice.shape[2:], device)
    chosen["copy"] = lambda image, lattice: out.copy_(image)
    run = chosen[contender]
    with torch.no_grad():
        compete(lambda: run(image, lattice), operation="bias_field", mode="forward", size=size, contender=contender)


@pytest.mark.parametrize("mode", ["forward+backward", "forward+backward to the lattice"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_backward(compete, case, device, contender, mode):
    size, image, lattice, grad = case
    inputs = [lattice.requires_grad_()]
    if mode == "forward+backward":
        inputs.append(image.requires_grad_())
    function = contenders(image.shape[2:], lattice.shape[2:], device)[contender]

    def run():
        torch.autograd.grad(function(image, lattice), inputs, grad)

    compete(run, operation="bias_field", mode=mode, size=size, contender=contender)
