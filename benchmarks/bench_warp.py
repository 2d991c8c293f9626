"""spline_warp and warp against plain PyTorch, eager and compiled; copying the image is the floor.

torch.grid_sample has no cubic interpolation in 3D.
"""

import pytest
import torch

from benchmarks import plain_torch
from medadv import ops

# Largest displacement of a control point: a quarter of their spacing, which cannot fold.
REACH = {2: 8.0, 3: 4.0}


def displacement_lattice(lattice):
    """The benchmark's lattice, one component per axis, scaled to voxels."""
    axes = lattice.dim() - 2
    shifted = [lattice.roll(k + 1, dims=-1) for k in range(axes)]
    return torch.cat(shifted, 1) * (REACH[axes] / 0.262)


def spline_contenders(size, knots, interpolation, device):
    eager = plain_torch.SplineWarp(size, knots, interpolation, device)
    return {
        "medadv": lambda image, lattice: ops.spline_warp(image, lattice, interpolation),
        "eager": eager,
        "compiled": torch.compile(eager),
    }


def skip_what_torch_lacks(contender, image, interpolation):
    if contender in ("eager", "compiled") and interpolation == "cubic" and image.dim() == 5:
        pytest.skip("grid_sample has no cubic interpolation in 3D")


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy"])
def test_spline_forward(compete, case, device, contender, interpolation):
    size, image, lattice, _ = case
    skip_what_torch_lacks(contender, image, interpolation)
    lattice, out = displacement_lattice(lattice), torch.empty_like(image)
    chosen = spline_contenders(image.shape[2:], lattice.shape[2:], interpolation, device)
    chosen["copy"] = lambda image, lattice: out.copy_(image)
    run, operation = chosen[contender], f"spline_warp {interpolation}"
    with torch.no_grad():
        compete(lambda: run(image, lattice), operation=operation, mode="forward", size=size, contender=contender)


@pytest.mark.parametrize("mode", ["forward+backward", "forward+backward to the lattice"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_spline_backward(compete, case, device, contender, interpolation, mode):
    size, image, lattice, grad = case
    skip_what_torch_lacks(contender, image, interpolation)
    lattice = displacement_lattice(lattice)
    inputs = [lattice.requires_grad_()]
    if mode == "forward+backward":
        inputs.append(image.requires_grad_())
    function = spline_contenders(image.shape[2:], lattice.shape[2:], interpolation, device)[contender]

    def run():
        torch.autograd.grad(function(image, lattice), inputs, grad)

    compete(run, operation=f"spline_warp {interpolation}", mode=mode, size=size, contender=contender)


@pytest.mark.parametrize("mode", ["forward", "forward+backward"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_dense(compete, case, device, contender, mode):
    size, image, lattice, grad = case
    displacement = ops.spline_field(displacement_lattice(lattice), image.shape[2:])
    eager = plain_torch.Warp(image.shape[2:], "linear", device)
    function = {"medadv": ops.warp, "eager": eager, "compiled": torch.compile(eager)}[contender]
    backward = mode == "forward+backward"
    inputs = [image.requires_grad_(backward), displacement.requires_grad_(backward)]

    def run():
        out = function(*inputs)
        if backward:
            torch.autograd.grad(out, inputs, grad)

    compete(run, operation="warp linear", mode=mode, size=size, contender=contender)
