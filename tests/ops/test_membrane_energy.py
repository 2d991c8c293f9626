import itertools
import math

import numpy as np
import pytest
import torch
from support.operators import check_batching, check_compiles, check_gradients, check_layouts, check_registration

from medadv._core import definitions
from medadv.ops import bending_energy, membrane_energy, spline_field


def sample(knots, *, dtype=torch.float64, device="cpu", seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn((2, 3, *knots), generator=g, dtype=torch.float64).to(device, dtype)


def slope_by_scipy(lattice, axis, lengths, nodes=5):
    """One first derivative of a spline at Gauss-Legendre nodes of every cell, and the weights of the quadrature."""
    interpolate = pytest.importorskip("scipy.interpolate")
    x, w = np.polynomial.legendre.leggauss(nodes)
    field, volume = lattice, np.ones(())
    for a, (k, length) in enumerate(zip(lattice.shape, lengths, strict=True)):
        u = ((x + 1) / 2 + np.arange(k - 3)[:, None]).ravel()
        spline = interpolate.BSpline(np.arange(-3.0, k + 1), np.moveaxis(field, a, 0), 3)
        values = spline(u, nu=1) / length if a == axis else spline(u)
        field = np.moveaxis(values, 0, a)
        volume = volume[..., None] * np.tile(w / 2, k - 3) * length
    return field, volume


CASES = [
    ((4, 4), (2, 9), 1.0),
    ((6, 9), (33, 50), (0.5, 2.0)),
    ((4, 5, 6), (9, 8, 30), (3.0, 1.0, 0.7)),
    ((7, 4, 5), (40, 3, 12), 1.0),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("knots", "size", "voxel"), CASES, ids=str)
def test_is_the_exact_integral(device, dtype, knots, size, voxel):
    lattice = sample(knots, dtype=dtype, device=device)
    voxels = [voxel] * len(size) if isinstance(voxel, float) else voxel
    lengths = [v * (n - 1) / (k - 3) for v, n, k in zip(voxels, size, knots, strict=True)]
    expected = np.zeros(2)
    for n, channel, axis in itertools.product(range(2), range(3), range(len(size))):
        slope, volume = slope_by_scipy(lattice[n, channel].double().cpu().numpy(), axis, lengths)
        expected[n] += (slope**2 * volume).sum()
    energy = membrane_energy(lattice, size, voxel)
    assert energy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(energy.double().cpu().numpy(), expected, rtol=1e-11 if dtype == torch.float64 else 1e-6)


def test_known_integrals(device):
    u = torch.arange(-1.0, 6.0, dtype=torch.float64, device=device)
    ramp = (3 * u).expand(1, 1, 5, 7)  # a slope of 3 per cell; cells of 2.5 voxels along x
    torch.testing.assert_close(membrane_energy(ramp, (5, 11)).item(), (3 / 2.5) ** 2 * 4 * 10)
    assert membrane_energy(torch.full((1, 1, 5, 7), 4.0, device=device), (5, 5)).abs().item() < 1e-10


def test_does_not_depend_on_the_resolution():
    lattice = sample((6, 7))
    coarse = membrane_energy(lattice, (11, 13), voxel_size=(2.0, 3.0))
    fine = membrane_energy(lattice, (41, 49), voxel_size=(0.5, 0.75))
    torch.testing.assert_close(coarse, fine)


@pytest.mark.parametrize("energy", [membrane_energy, bending_energy])
def test_the_dense_form_converges_to_the_lattice_form(energy):
    lattice = sample((5, 6), seed=3)
    errors = []
    for n in (40, 80, 160):
        size, voxel = (n + 1, n + 1), (10 / n, 12 / n)
        exact = energy(lattice, size, voxel)
        errors.append(((energy(spline_field(lattice, size), voxel_size=voxel) - exact) / exact).abs().max().item())
    assert errors[0] < 0.1
    assert errors[2] < 0.3 * errors[0]


@pytest.mark.parametrize(("knots", "spacing"), [((5, 7), (2.0, 0.5)), ((4, 6, 5), (1.0, 3.0, 0.7))], ids=str)
def test_gradient_matches_the_entry_by_entry_definition(knots, spacing):
    lattice = sample(knots)
    _, gradient = torch.ops.medadv.membrane_energy(lattice, list(spacing))
    for n, k in ((0, 0), (1, 2)):
        expected = definitions.membrane_gradient(lattice[n, k].numpy(), list(spacing))
        np.testing.assert_allclose(gradient[n, k].numpy(), expected, rtol=1e-11, atol=1e-11)


def test_derivatives_of_any_order(device):
    check_gradients(lambda c: membrane_energy(c, (9, 12), (1.0, 0.5)), [sample((4, 5), device=device)])
    check_gradients(lambda c: membrane_energy(c, (9, 12, 5)), [sample((4, 4, 5), device=device)[:1, :1]])


def test_registration_layouts_compile_and_batching(device):
    lattice = sample((5, 6), device=device)
    check_registration(torch.ops.medadv.membrane_energy.default, (lattice, [2.0, 3.0]))
    check_layouts(lambda c: membrane_energy(c, (9, 11)), [lattice])
    check_compiles(lambda c: membrane_energy(c, (9, 11)), [lattice])
    check_batching(lambda c: membrane_energy(c, (9, 11)), [lattice])


@pytest.mark.parametrize("exponent", [330, -330])
@pytest.mark.parametrize("axes", [2, 3])
def test_units_of_length_change_the_energy_by_their_power(axes, exponent):
    lattice, size = sample((4, 5, 6)[:axes]), (5, 7, 9)[:axes]
    found, one = (membrane_energy(lattice, size, length) for length in (2.0**exponent, 1.0))
    assert torch.equal(found, one * 2.0 ** (exponent * (axes - 2)))


def test_bad_arguments_get_one_sentence():
    with pytest.raises(ValueError, match="^membrane_energy: field must have at least 4 control points"):
        membrane_energy(sample((4, 4))[..., :3], (5, 5))
    with pytest.raises(ValueError, match="^membrane_energy: size must be at least 2"):
        membrane_energy(sample((4, 4)), (5, 1))
    with pytest.raises(ValueError, match="^membrane_energy: voxel_size must be positive and finite, got inf$"):
        membrane_energy(sample((4, 4)), (5, 5), math.inf)
    with pytest.raises(ValueError, match="^membrane_energy: voxel_size must make the cube .* finite, got 1e\\+308$"):
        membrane_energy(sample((4, 4)), (5, 5), 1e308)
    with pytest.raises(TypeError, match="field must be a torch.Tensor"):
        membrane_energy([[0.0]], (5, 5))
