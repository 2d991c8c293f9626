"""row_lengths and unit_rows against plain PyTorch, eager and compiled; copying an image is the floor."""

import pytest
import torch

from benchmarks import plain_torch
from medadv import ops

OPERATIONS = [(name, norm) for name in ("row_lengths", "unit_rows") for norm in ("linf", "l1", "l2")]


def contender_named(name, operation, norm, image):
    """What runs on an image."""
    if name == "copy":
        out = torch.empty_like(image)
        return lambda image: out.copy_(image)
    function = getattr(ops if name == "medadv" else plain_torch, operation)

    def run(image):
        return function(image, norm)

    torch._dynamo.reset()  # else the many shapes and norms of one function would end in the eager one
    return torch.compile(run) if name == "compiled" else run


@pytest.mark.parametrize(("operation", "norm"), OPERATIONS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy"])
def test_forward(compete, case, contender, operation, norm):
    size, image, _, _ = case
    run = contender_named(contender, operation, norm, image)
    with torch.no_grad():
        compete(run, (image,), operation=f"{operation} {norm}", mode="forward", size=size, contender=contender)
