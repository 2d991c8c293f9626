"""bias_field against plain PyTorch, eager and compiled, and against libraries; copying the image is the floor."""

import pytest
import torch

from benchmarks import peers, plain_torch
from medadv import ops


def contender_named(name, image, lattice):
    """What runs on (image, lattice)."""
    if name == "medadv":
        return ops.bias_field
    if name == "copy":
        out = torch.empty_like(image)
        return lambda image, lattice: out.copy_(image)
    if name in peers.PEERS:
        return peers.make(name, "bias_field", image, lattice)
    matrices = plain_torch.bases(image.shape[2:], lattice.shape[2:], image.device)

    def eager(image, lattice):
        return plain_torch.bias_field(image, lattice, matrices)

    return torch.compile(eager) if name == "compiled" else eager


@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy", *peers.names("bias_field")])
def test_forward(compete, case, contender):
    size, image, lattice, _ = case
    run = contender_named(contender, image, lattice)
    with torch.no_grad():
        compete(run, (image, lattice), operation="bias_field", mode="forward", size=size, contender=contender)


@pytest.mark.parametrize("mode", ["forward+backward", "forward+backward to the lattice"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", *peers.names("bias_field", gradients=True)])
def test_backward(compete_backward, case, contender, mode):
    size, image, lattice, grad = case
    function = contender_named(contender, image, lattice)
    wanted = (lattice,) if mode.endswith("lattice") else (image, lattice)
    compete_backward(
        function, (image, lattice), wanted, grad, operation="bias_field", mode=mode, size=size, contender=contender
    )
