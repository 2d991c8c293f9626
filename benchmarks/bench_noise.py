"""Steps with noise against plain PyTorch, eager and compiled; copying an image is the floor."""

import pytest
import torch

from benchmarks import plain_torch
from medadv import ops

BOUNDS, RADIUS = (0.0, 1.0), {"linf": 8 / 255, "l2": 3.0}
LENGTH = 2 / 255
OPERATIONS = {
    "add_noise": (
        lambda x, d: ops.add_noise(x, d, BOUNDS),
        lambda x, d: plain_torch.add_noise(x, d, *BOUNDS),
    ),
    **{
        f"project_noise {norm}": (
            lambda x, d, norm=norm: ops.project_noise(x, d, BOUNDS, RADIUS[norm], norm),
            lambda x, d, norm=norm: plain_torch.project_noise(x, d, *BOUNDS, RADIUS[norm], norm),
        )
        for norm in RADIUS
    },
    "sign_step": (
        lambda x, d: ops.sign_step(x, d, d, LENGTH, BOUNDS, RADIUS["linf"]),
        lambda x, d: plain_torch.sign_step(x, d, d, LENGTH, *BOUNDS, RADIUS["linf"]),
    ),
    **{
        f"unit_step {norm}": (
            lambda x, d, norm=norm: ops.unit_step(x, d, d, LENGTH, BOUNDS, RADIUS[norm], norm),
            lambda x, d, norm=norm: plain_torch.unit_step(x, d, d, LENGTH, *BOUNDS, RADIUS[norm], norm),
        )
        for norm in RADIUS
    },
}


def contender_named(name, operation, image):
    """What runs on an image and noise."""
    ours, eager = OPERATIONS[operation]
    if name == "copy":
        out = torch.empty_like(image)
        return lambda image, noise: out.copy_(image)
    return {"medadv": ours, "eager": eager, "compiled": torch.compile(eager)}[name]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy"])
def test_forward(compete, case, contender, operation):
    size, image, _, grad = case
    run, noise = contender_named(contender, operation, image), 0.2 * grad - 0.1
    with torch.no_grad():
        compete(run, (image, noise), operation=operation, mode="forward", size=size, contender=contender)
