"""transform_chain against its parts in plain PyTorch, eager and compiled, and against our own single operators.

``python -m benchmarks.bench_transform_chain`` prints what each allocates at most, forward and backward, beyond its
inputs.
"""

import pytest
import torch

from benchmarks import plain_torch
from benchmarks.bench_warp import displacement_lattice, skip_what_torch_lacks
from benchmarks.conftest import SIZES
from medadv import ops

BOUNDS = (0.0, 1.0)
MODES = {"forward": (), "forward+backward": (0, 1, 2, 3), "forward+backward to the parameters": (1, 2, 3)}


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
    return [image, displacement_lattice(log_gain), log_gain, (grad - 0.5) / 10]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("contender", ["medadv", "single operators", "eager", "compiled"])
def test_chain(compete, case, device, contender, interpolation, mode):
    size, image, log_gain, grad = case
    skip_what_torch_lacks(contender, image, interpolation)
    arguments = arguments_of(image, log_gain, grad)
    function = contenders(image.shape[2:], log_gain.shape[2:], interpolation, device)[contender]
    wanted = [arguments[k].requires_grad_() for k in MODES[mode]]

    def run():
        out = function(*arguments, BOUNDS)
        if wanted:
            torch.autograd.grad(out, wanted, grad)

    compete(run, operation=f"transform_chain {interpolation}", mode=mode, size=size, contender=contender)


def peak_memory(run):
    """Most bytes that run() held at a time, of what torch allocates on the CPU."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def print_memory():
    for size, (shape, spacing) in SIZES.items():
        image, grad = torch.rand(2, *shape)
        knots = ops.lattice_shape(shape[2:], spacing)
        wanted = [t.requires_grad_() for t in arguments_of(image, torch.zeros(shape[0], 1, *knots), grad)]
        for name, function in contenders(shape[2:], knots, "linear", "cpu").items():
            if name == "compiled":
                continue

            def run(function=function, wanted=wanted, grad=grad):
                torch.autograd.grad(function(*wanted, BOUNDS), wanted, grad)

            run()
            images = peak_memory(run) / (image.numel() * image.element_size())
            print(f"{size}: {name}: {images:.2f} images")


if __name__ == "__main__":
    print_memory()
