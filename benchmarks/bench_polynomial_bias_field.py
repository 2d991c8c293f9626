"""polynomial_bias_field against plain PyTorch, eager and compiled; copying the image is the floor.

Where the coordinates stay, PyTorch has one matrix of powers per axis; where they move, it evaluates the polynomial by
Clenshaw's recurrence at coordinates from one product with a dense matrix (of thin-plate kernels, prepared beforehand)
or from interpolate().
"""

import pytest
import torch

from benchmarks import plain_torch
from benchmarks.conftest import SIZES
from medadv import ops

WARPS = [None, "thin_plate", "flow"]
DEGREES = {2: 10, 3: 4}


@pytest.fixture(params=SIZES)
def polynomial_case(request, device):
    """Name of the size, image, gradient, coefficients and, per warp, control points: 4 per axis, or 16 voxels apart."""
    shape, _ = SIZES[request.param]
    axes = len(shape) - 2
    g = torch.Generator().manual_seed(0)
    image, grad = torch.rand(2, *shape, generator=g).to(device)
    terms = len(ops.polynomial_terms(DEGREES[axes], axes))
    coefficients = (torch.rand(shape[0], 1, terms, generator=g) * 0.2 - 0.1).to(device)
    grids = {"thin_plate": [4] * axes, "flow": [n // 16 for n in shape[2:]]}
    control = {w: (torch.rand(shape[0], axes, *n, generator=g) * 0.1 - 0.05).to(device) for w, n in grids.items()}
    return request.param, image, grad, coefficients, control


def contenders(image, control, warp, device):
    degree = DEGREES[image.dim() - 2]
    eager = plain_torch.PolynomialBiasField(
        image.shape[2:], degree, warp, None if control is None else control.shape[2:], device
    )

    def medadv(image, coefficients, *control):
        return ops.polynomial_bias_field(image, coefficients, *control, degree=degree, warp=warp)

    return {"medadv": medadv, "eager": eager, "compiled": torch.compile(eager)}


EVERY_WARP = pytest.mark.parametrize("warp", WARPS, ids=str)


def arguments_of(image, coefficients, control, warp):
    return (image, coefficients) if warp is None else (image, coefficients, control[warp])


@EVERY_WARP
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy"])
def test_forward(compete, polynomial_case, device, contender, warp):
    size, image, _, coefficients, control = polynomial_case
    out = torch.empty_like(image)
    chosen = contenders(image, control.get(warp), warp, device)
    chosen["copy"] = lambda image, *parameters: out.copy_(image)
    row = {"operation": f"polynomial_bias_field {warp}", "mode": "forward", "size": size, "contender": contender}
    with torch.no_grad():
        compete(chosen[contender], arguments_of(image, coefficients, control, warp), **row)


@EVERY_WARP
@pytest.mark.parametrize("mode", ["forward+backward", "forward+backward to the parameters"])
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_backward(compete_backward, polynomial_case, device, contender, mode, warp):
    size, image, grad, coefficients, control = polynomial_case
    arguments = arguments_of(image, coefficients, control, warp)
    wanted = arguments if mode == "forward+backward" else arguments[1:]
    function = contenders(image, control.get(warp), warp, device)[contender]
    row = {"operation": f"polynomial_bias_field {warp}", "mode": mode, "size": size, "contender": contender}
    compete_backward(function, arguments, wanted, grad, **row)
