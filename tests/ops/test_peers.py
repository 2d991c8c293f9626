"""Agreement with independent implementations: the peers of the benchmarks, where they compute what we compute.

A library that is not installed is skipped, visibly: benchmarks/requirements-peers.txt.
"""

import pytest
import torch

from benchmarks import peers
from medadv import ops

CASES = [
    (operation, name)
    for operation in ("bias_field", "spline_warp linear", "warp linear", "gaussian_blur")
    for name in peers.exact(operation)
]
# SimpleITK begins with zeros half a voxel outside, and nobody else before one voxel: this margin hides both.
MARGIN = 12


@pytest.fixture(params=[(40, 57), (31, 34, 38)], ids=["2d", "3d"])
def tensors(request):
    """Arguments by operation: two examples of two channels, displacements of up to five voxels."""
    size = request.param
    g = torch.Generator().manual_seed(0)
    knots = ops.lattice_shape(size, 8)
    image = torch.rand(2, 2, *size, generator=g)
    field = torch.rand(2, 1, *knots, generator=g) - 0.5
    motion = (torch.rand(2, len(size), *knots, generator=g) - 0.5) * 10
    return {
        "bias_field": (image, field),
        "spline_warp": (image, motion),
        "warp": (image, ops.spline_field(motion, size)),
        "gaussian_blur": (image,),
    }


@pytest.mark.parametrize(("operation", "name"), CASES, ids=str)
def test_agrees_with_the_peer(tensors, operation, name):
    function, *interpolation = operation.split()
    inputs, settings = tensors[function], (1.5,) if function == "gaussian_blur" else ()
    expected = peers.make(name, operation, *inputs, *settings)(*inputs)
    got = getattr(ops, function)(*inputs, *settings, *interpolation)
    image = inputs[0]
    if name == "SimpleITK":
        inside = (slice(None), slice(None), *[slice(MARGIN, -MARGIN)] * (image.dim() - 2))
        got, expected, image = got[inside], expected[inside], image[inside]
    # float32 positions of some 40 voxels: 4e-6 of a voxel, of an image with differences of one between neighbours.
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)
    assert (got - image).abs().max() > 0.1


@pytest.mark.parametrize(
    ("operation", "name"),
    [(operation, name) for operation, name in CASES if name in peers.names(operation, gradients=True)],
    ids=str,
)
def test_its_gradients_agree_too(tensors, operation, name):
    function, *interpolation = operation.split()
    gradients = []
    for run in (
        lambda *inputs: getattr(ops, function)(*inputs, *interpolation),
        peers.make(name, operation, *tensors[function]),
    ):
        inputs = [t.clone().requires_grad_() for t in tensors[function]]
        out = run(*inputs)
        gradients.append(torch.autograd.grad(out, inputs, torch.linspace(-1, 1, out.numel()).reshape(out.shape)))
    for got, expected in zip(*gradients, strict=True):
        # Where a position crosses a voxel between the two roundings, a slope is another one.
        close = torch.isclose(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
        assert close.float().mean() > 0.999
