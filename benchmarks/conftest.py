"""Sizes, devices and the way one contender is measured."""

import time

import pytest
import torch

from benchmarks import memory
from medadv.ops import lattice_shape

# Name: image shape, lattice spacing in voxels.
SIZES = {
    "2d_224": ((32, 1, 224, 224), 32),
    "2d_512": ((8, 3, 512, 512), 32),
    "3d_128": ((1, 1, 128, 128, 128), 16),
    "3d_160": ((2, 1, 160, 192, 160), 16),
}
ROUNDS, SECONDS = 20, 3.0  # of one row, at most: slow libraries get fewer rounds
CALLS_PER_ROUND = {"cpu": 1, "cuda": 10}  # a GPU is asked to finish once per round


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    return request.param


@pytest.fixture(params=SIZES)
def case(request, device):
    """Image, lattice within the log of a gain of 1.3, gradient, and the name of the size."""
    shape, spacing = SIZES[request.param]
    g = torch.Generator().manual_seed(0)
    image, grad = torch.rand(2, *shape, generator=g).to(device)
    knots = lattice_shape(shape[2:], spacing)
    lattice = (torch.rand(shape[0], 1, *knots, generator=g) * 2 - 1).mul(0.262).to(device)
    return request.param, image, lattice, grad


@pytest.fixture
def compete(benchmark, device):
    """Time run(*inputs), and note what it was, the memory it took and the bytes it has to move.

    On a GPU the clock stops when the GPU does. What run returns is the result; what is resident beyond that while it
    works is its scratch.
    """

    def measure(run, inputs, **row):
        if device == "cuda" and row["contender"] not in ("medadv", "copy", "eager", "compiled"):
            cannot_run_on_cuda(run, inputs)
        calls = CALLS_PER_ROUND[device]

        def timed():
            for _ in range(calls):
                run(*inputs)
            if device == "cuda":
                torch.cuda.synchronize()

        seconds = [elapsed(timed)]  # the first call compiles
        if seconds[0] < 10 * SECONDS:
            seconds.append(elapsed(timed))
        result, scratch = memory.scratch_bytes(lambda: run(*inputs), device)
        benchmark.extra_info.update(
            **row,
            device=device,
            threads=torch.get_num_threads(),
            calls=calls,
            scratch=scratch,
            bytes=sum(t.nbytes for t in (*inputs, *memory.tensors(result))),
            launches=memory.launches(lambda: run(*inputs)) if device == "cuda" else None,
        )
        del result
        rounds = int(min(ROUNDS, max(1, SECONDS / seconds[-1])))
        benchmark.pedantic(timed, rounds=rounds, warmup_rounds=int(rounds > 3))

    return measure


@pytest.fixture
def compete_backward(compete):
    """The same for function(*inputs) and its gradients to some of the inputs; grad None where it returns a number."""

    def measure(function, inputs, wanted, grad, **row):
        for tensor in wanted:
            tensor.requires_grad_()

        def run(*tensors):
            out = function(*tensors[: len(inputs)])
            return out.detach(), *torch.autograd.grad(out, wanted, grad)

        compete(run, inputs if grad is None else (*inputs, grad), **row)

    return measure


def elapsed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def cannot_run_on_cuda(run, inputs):
    """Skip a library that works on the CPU alone."""
    try:
        run(*inputs)
    except (TypeError, RuntimeError) as error:
        pytest.skip(f"not on CUDA: {str(error).splitlines()[0]}")
