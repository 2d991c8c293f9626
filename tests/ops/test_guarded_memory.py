"""What gradients read: not a byte past either end of any tensor. Forwards: tests/test_numpy.py."""

import itertools
import math

import numpy as np
import pytest
import torch
from support.guarded import CAN_GUARD, guarded, survives

import medadv.ops  # noqa: F401  (registers torch.ops.medadv)

OPS = torch.ops.medadv
pytestmark = pytest.mark.skipif(not CAN_GUARD, reason="needs Linux")
# No block divides them; axes of one voxel, for what has no neighbours.
SIZES = [(37, 53), (3, 7, 35), (1, 17), (3, 1, 5)]


def calls(dtype, size):
    """(operator, arguments) for every gradient of images and volumes of one size."""

    def sample(*shape, scale=1.0, like=dtype):
        return torch.from_numpy((np.random.default_rng(len(shape)).uniform(-1, 1, shape) * scale).astype(like))

    axes = len(size)
    image, flow, shared = sample(2, 2, *size), sample(2, axes, *size, scale=9), sample(2, 1, *size)
    gain, moves = sample(2, 1, *[4, 5, 4][:axes]), sample(2, axes, *[5, 4, 4][:axes], scale=9)
    yield OPS.bias_field_backward, (image, image, gain)
    yield OPS.bias_field_lattice_backward, (image, image, gain)
    terms, grid = sample(2, 1, math.comb(3 + axes, axes), scale=0.3), [3] * axes
    for warp, rows in [(0, 0), (1, 3**axes + 1 + axes), (2, 3**axes)]:
        weights = sample(2, axes, rows, scale=0.1, like="float32")
        settings = (terms, weights, grid if warp else [], 3, 0, warp, warp > 0)
        yield OPS.polynomial_bias_field_backward, (image, image, *settings)
        yield OPS.polynomial_bias_field_parameters_backward, (image, image, *settings)
    yield OPS.spline_field_adjoint, (image, [5, 4, 6][:axes])
    for padding in range(3):
        yield OPS.gaussian_blur_adjoint, (image, [1.3, 0.0, 2.0][:axes], padding, 3.0)
    scale, voxel = sample(2, 2, like="float64"), [0.5, 2.0, 1.0][:axes]
    for energy in ("bending_energy", "membrane_energy", "total_variation"):
        yield getattr(OPS, f"dense_{energy}_backward"), (scale, image, voxel)
    cells = [n - 1 for n in size]
    yield OPS.jacobian_determinant_backward, (sample(2, *cells), flow, voxel)
    yield OPS.folding_penalty_backward, (sample(2, like="float64"), flow, voxel, 0.5)
    if min(size) > 1:
        yield OPS.spline_derivative_adjoint, (image, [5, 4, 6][:axes], [0] * (axes - 1) + [1], voxel)
        yield OPS.spline_jacobian_determinant_backward, (sample(2, *size), moves, voxel)
        yield OPS.spline_folding_penalty_gradient, (moves, list(size), voxel, 0.5)
    for modes in itertools.product(range(3), range(3)):
        for warp, motion, name in [("warp", flow, "displacement"), ("spline_warp", moves, "lattice")]:
            yield getattr(OPS, f"{warp}_backward"), (image, image, motion, *modes)
            yield getattr(OPS, f"{warp}_{name}_backward"), (image, image, motion, *modes)
            yield getattr(OPS, f"{warp}_adjoint"), (image, motion, *modes)
        yield OPS.transform_chain_backward, (image, image, moves, gain, shared, [-0.7, 0.9], -0.5, *modes, 15)
    yield OPS.transform_chain_backward, (image, image, None, gain, None, [], 0.0, 1, 0, 5)


def results(operator, arguments):
    found = operator(*arguments)
    return [t.numpy().tobytes() for t in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("at_end", [False, True], ids=["begin", "end"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradients_read_nothing_past_their_tensors(size, dtype, at_end):
    def run():
        torch.set_num_threads(1)  # those of OpenMP do not come along
        for operator, arguments in calls(dtype, size):
            inside = [
                torch.from_numpy(guarded(a.numpy(), at_end=at_end)) if isinstance(a, torch.Tensor) else a
                for a in arguments
            ]
            assert results(operator, inside) == results(operator, arguments), operator

    assert survives(run)
