"""spline_warp and warp against plain PyTorch, eager and compiled, and against libraries; copying the image is the
floor.

torch.grid_sample has no cubic interpolation in 3D.
"""

import pytest
import torch

from benchmarks import peers, plain_torch
from medadv import ops

# Largest displacement of a control point: a quarter of their spacing, which cannot fold.
REACH = {2: 8.0, 3: 4.0}


def pairs(operation, interpolations, *plain, gradients=False):
    """Every interpolation with everyone who has it."""
    return [
        (interpolation, contender)
        for interpolation in interpolations
        for contender in ("medadv", *plain, *peers.names(f"{operation} {interpolation}", gradients=gradients))
    ]


def displacement_lattice(lattice):
    """The benchmark's lattice, one component per axis, scaled to voxels."""
    axes = lattice.dim() - 2
    shifted = [lattice.roll(k + 1, dims=-1) for k in range(axes)]
    return torch.cat(shifted, 1) * (REACH[axes] / 0.262)


def contender_named(name, operation, interpolation, image, motion):
    """What runs on an image and its motion, a lattice or a displacement."""
    if name == "medadv":
        function = getattr(ops, operation)
        return lambda image, motion: function(image, motion, interpolation)
    if name == "copy":
        out = torch.empty_like(image)
        return lambda image, motion: out.copy_(image)
    if name in peers.PEERS:
        return peers.make(name, f"{operation} {interpolation}", image, motion)
    if interpolation == "cubic" and image.dim() == 5:
        pytest.skip("grid_sample has no cubic interpolation in 3D")
    if operation == "warp":
        eager = plain_torch.Warp(image.shape[2:], interpolation, image.device)
    else:
        eager = plain_torch.SplineWarp(image.shape[2:], motion.shape[2:], interpolation, image.device)
    return torch.compile(eager) if name == "compiled" else eager


@pytest.mark.parametrize(
    ("interpolation", "contender"), pairs("spline_warp", ["linear", "nearest", "cubic"], "eager", "compiled", "copy")
)
def test_spline_forward(compete, case, contender, interpolation):
    size, image, lattice, _ = case
    lattice = displacement_lattice(lattice)
    run, operation = contender_named(contender, "spline_warp", interpolation, image, lattice), "spline_warp"
    with torch.no_grad():
        compete(
            run,
            (image, lattice),
            operation=f"{operation} {interpolation}",
            mode="forward",
            size=size,
            contender=contender,
        )


@pytest.mark.parametrize("mode", ["forward+backward", "forward+backward to the lattice"])
@pytest.mark.parametrize(
    ("interpolation", "contender"), pairs("spline_warp", ["linear", "cubic"], "eager", "compiled", gradients=True)
)
def test_spline_backward(compete_backward, case, contender, interpolation, mode):
    size, image, lattice, grad = case
    lattice = displacement_lattice(lattice)
    function = contender_named(contender, "spline_warp", interpolation, image, lattice)
    wanted = (lattice,) if mode.endswith("lattice") else (image, lattice)
    compete_backward(
        function,
        (image, lattice),
        wanted,
        grad,
        operation=f"spline_warp {interpolation}",
        mode=mode,
        size=size,
        contender=contender,
    )


@pytest.fixture
def dense(case):
    size, image, lattice, grad = case
    return size, image, ops.spline_field(displacement_lattice(lattice), image.shape[2:]), grad


@pytest.mark.parametrize(("interpolation", "contender"), pairs("warp", ["linear"], "eager", "compiled", "copy"))
def test_dense_forward(compete, dense, contender, interpolation):
    size, image, displacement, _ = dense
    run = contender_named(contender, "warp", interpolation, image, displacement)
    operation = f"warp {interpolation}"
    with torch.no_grad():
        compete(run, (image, displacement), operation=operation, mode="forward", size=size, contender=contender)


@pytest.mark.parametrize(("interpolation", "contender"), pairs("warp", ["linear"], "eager", "compiled", gradients=True))
def test_dense_backward(compete_backward, dense, contender, interpolation):
    size, image, displacement, grad = dense
    function = contender_named(contender, "warp", interpolation, image, displacement)
    compete_backward(
        function,
        (image, displacement),
        (image, displacement),
        grad,
        operation=f"warp {interpolation}",
        mode="forward+backward",
        size=size,
        contender=contender,
    )
