"""Operators have no forward-mode derivatives, and say so: torch would take them for zero without a word."""

import pytest
import torch
from torch.autograd import forward_ad

from medadv import ops

IMAGE, LATTICE, GAIN = torch.rand(2, 1, 9, 9), torch.zeros(2, 2, 4, 4), torch.zeros(2, 1, 4, 4)
FLOW = torch.zeros(2, 2, 9, 9)
TERMS = torch.zeros(2, 1, 10)
RADIUS = torch.ones(2, dtype=torch.float64)
CALLS = {
    "bias_field": (ops.bias_field, (IMAGE, GAIN)),
    "polynomial_bias_field": (lambda x, a: ops.polynomial_bias_field(x, a, degree=3), (IMAGE, TERMS)),
    "spline_field": (lambda c: ops.spline_field(c, (9, 9)), (GAIN,)),
    "spline_warp": (ops.spline_warp, (IMAGE, LATTICE)),
    "warp": (ops.warp, (IMAGE, FLOW)),
    "compose": (ops.compose, (FLOW, FLOW)),
    "exponentiate": (ops.exponentiate, (FLOW,)),
    "transform_chain": (ops.transform_chain, (IMAGE, LATTICE, GAIN, IMAGE)),
    "bending_energy": (ops.bending_energy, (FLOW,)),
    "membrane_energy": (lambda c: ops.membrane_energy(c, (9, 9)), (LATTICE,)),
    "total_variation": (ops.total_variation, (FLOW,)),
    "jacobian_determinant": (ops.jacobian_determinant, (FLOW,)),
    "folding_penalty": (lambda c: ops.folding_penalty(c, size=(9, 9)), (LATTICE,)),
    "gaussian_blur": (lambda x: ops.gaussian_blur(x, 1.0), (IMAGE,)),
    "add_noise": (lambda x, d: ops.add_noise(x, d, (0.0, 1.0)), (IMAGE, IMAGE)),
    "unit_step": (lambda *step: ops.unit_step(*step[:3], 0.1, (0.0, 1.0), step[3]), (IMAGE, IMAGE, IMAGE, RADIUS)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_tangent_is_refused_and_not_lost(name):
    call, tensors = CALLS[name]
    expected = call(*tensors)
    with forward_ad.dual_level():
        for number in range(len(tensors)):
            with_tangent = list(tensors)
            with_tangent[number] = forward_ad.make_dual(tensors[number], torch.ones_like(tensors[number]))
            with pytest.raises(ValueError, match="has a tangent, but there are no forward-mode derivatives"):
                call(*with_tangent)
        assert torch.equal(call(*tensors), expected)


def test_nor_by_torch_func():
    with pytest.raises(ValueError, match="^bias_field: lattice has a tangent"):
        torch.func.jvp(lambda lattice: ops.bias_field(IMAGE, lattice), (GAIN,), (GAIN,))
