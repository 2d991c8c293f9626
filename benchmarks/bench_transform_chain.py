"""transform_chain against its parts in plain PyTorch, eager and compiled, and against our own single operators."""

import pytest
import torch

from benchmarks import plain_torch
from benchmarks.bench_warp import displacement_lattice
from medadv import ops

BOUNDS = (0.0, 1.0)
MODES = {"forward+backward": (0, 1, 2, 3), "forward+backward to the parameters": (1, 2, 3)}


def skip_what_torch_lacks(contender, image, interpolation):
    if contender in ("eager", "compiled") and interpolation == "cubic" and image.dim() == 5:
        pytest.skip("grid_sample has no cubic interpolation in 3D")


def contenders(size, knots, interpolation, device):
    eager = plain_torch.TransformChain(size, knots, knots, interpolation, device)

    def single(image, displacement, log_gain, noise, bounds):
        moved = ops.spline_warp(image, displacement, interpolation)
        return (ops.bias_field(moved, log_gain) + noise).clamp(*bounds)

    return {
        "medadv": lambda *arguments: ops.transform_chain(*arguments, interpolation=interpolation),
        "single operators": single,
        "eager": eager,
        "compiled": torch.compile(eager),
    }


def arguments_of(image, log_gain, grad):
    """Noise within 0.05; displacements as spline_warp is measured with."""
    return (image, displacement_lattice(log_gain), log_gain, (grad - 0.5) / 10)


INTERPOLATIONS = pytest.mark.parametrize("interpolation", ["linear", "cubic"])
CONTENDERS = pytest.mark.parametrize("contender", ["medadv", "single operators", "eager", "compiled"])


@INTERPOLATIONS
@CONTENDERS
def test_forward(compete, case, device, contender, interpolation):
    size, image, log_gain, grad = case
    skip_what_torch_lacks(contender, image, interpolation)
    function = contenders(image.shape[2:], log_gain.shape[2:], interpolation, device)[contender]
    row = {"operation": f"transform_chain {interpolation}", "mode": "forward", "size": size, "contender": contender}
    with torch.no_grad():
        compete(lambda *tensors: function(*tensors, BOUNDS), arguments_of(image, log_gain, grad), **row)


@pytest.mark.parametrize("mode", MODES)
@INTERPOLATIONS
@CONTENDERS
def test_backward(compete_backward, case, device, contender, interpolation, mode):
    size, image, log_gain, grad = case
    skip_what_torch_lacks(contender, image, interpolation)
    arguments = arguments_of(image, log_gain, grad)
    function = contenders(image.shape[2:], log_gain.shape[2:], interpolation, device)[contender]
    wanted = tuple(arguments[k] for k in MODES[mode])
    row = {"operation": f"transform_chain {interpolation}", "mode": mode, "size": size, "contender": contender}
    compete_backward(lambda *tensors: function(*tensors, BOUNDS), arguments, wanted, grad, **row)
