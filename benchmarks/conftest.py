"""Sizes, devices and the way one contender is timed."""

import pytest
import torch

from medadv.ops import lattice_shape

# Name: image shape, lattice spacing in voxels.
SIZES = {
    "2d_224": ((32, 1, 224, 224), 32),
    "2d_512": ((8, 3, 512, 512), 32),
    "3d_128": ((1, 1, 128, 128, 128), 16),
    "3d_160": ((2, 1, 160, 192, 160), 16),
}


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
    """Time run() and note what it was; on a GPU the clock stops when the GPU does."""

    def run_one(run, *, operation, mode, size, contender):
        def synchronised():
            run()
            torch.cuda.synchronize()

        benchmark.extra_info.update(
            operation=operation,
            mode=mode,
            size=size,
            contender=contender,
            device=device,
            threads=torch.get_num_threads(),
        )
        timed = run if device == "cpu" else synchronised
        benchmark.pedantic(timed, rounds=20, warmup_rounds=3)

    return run_one
