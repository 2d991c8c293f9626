import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.operators import check_batching, check_compiles, check_gradients, check_layouts, check_registration

from medadv._core import definitions
from medadv.ops import bending_energy


def sample(knots, *, dtype=torch.float64, device="cpu", seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn((2, 3, *knots), generator=g, dtype=torch.float64).to(device, dtype)


def energy_by_quadrature(lattice, lengths, nodes=4):
    """The integral by Gauss-Legendre in every cell: exact for piecewise polynomials of degree 6."""
    axes = len(lengths)
    x, w = np.polynomial.legendre.leggauss(nodes)
    bases, weights = [], []
    for k, length in zip(lattice.shape[2:], lengths, strict=True):
        u = torch.tensor(((x + 1) / 2)[None] + np.arange(k - 3)[:, None]).flatten()
        bases.append([_basis_at(u, k, d) / length**d for d in range(3)])
        weights.append(torch.tensor(np.tile(w / 2, k - 3)) * length)
    total = 0
    for p, q in itertools.product(range(axes), repeat=2):
        field = lattice.double().cpu()
        volume = torch.ones(())
        for axis in range(axes):
            basis = bases[axis][(p == axis) + (q == axis)]
            field = torch.movedim(torch.tensordot(field, basis, ([axis + 2], [1])), -1, axis + 2)
            volume = volume[..., None] * weights[axis]
        total = total + (field**2 * volume).flatten(1).sum(1)
    return total


def _basis_at(u, knots, derivative):
    cell = u.long().clamp(max=knots - 4)
    t = u - cell
    weights = [
        [(1 - t) ** 3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6, t**3 / 6],
        [-((1 - t) ** 2) / 2, (3 * t**2 - 4 * t) / 2, (1 + 2 * t - 3 * t**2) / 2, t**2 / 2],
        [1 - t, 3 * t - 2, 1 - 3 * t, t],
    ][derivative]
    basis = torch.zeros(len(u), knots, dtype=torch.float64)
    for k in range(4):
        basis[torch.arange(len(u)), cell + k] = weights[k]
    return basis


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
    energy = bending_energy(lattice, size, voxel)
    assert energy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(energy.double().cpu(), energy_by_quadrature(lattice, lengths), rtol=tolerance, atol=0)


def test_known_integrals(device):
    u = torch.arange(-1.0, 6.0, dtype=torch.float64, device=device)
    # Coefficients u^2 give the spline u^2 + 1/3, whose second derivative is 2 everywhere.
    parabola = (u**2).expand(1, 1, 5, 7)
    torch.testing.assert_close(bending_energy(parabola, (11, 5)).item(), 4.0 * 10 * 4)
    saddle = (u[:, None] * u[None]).expand(1, 1, 7, 7)  # mixed derivative 1: counted twice
    torch.testing.assert_close(bending_energy(saddle, (5, 5)).item(), 2.0 * 4 * 4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), axes=st.integers(2, 3))
def test_zero_for_affine_fields_and_never_negative(seed, axes):
    g = torch.Generator().manual_seed(seed)
    knots = [int(torch.randint(4, 9, (), generator=g)) for _ in range(axes)]
    slopes = torch.randn(axes + 1, generator=g, dtype=torch.float64)
    affine = slopes[-1].expand(1, 1, *knots)
    for axis, k in enumerate(knots):
        affine = affine + slopes[axis] * torch.arange(k, dtype=torch.float64).reshape([-1] + [1] * (axes - axis - 1))
    size = [9] * axes
    assert bending_energy(affine, size).abs().item() < 1e-12 * (1 + slopes.abs().max().item()) ** 2 * 100
    assert (bending_energy(sample(knots, seed=seed), size) > 0).all()


def test_does_not_depend_on_the_resolution():
    lattice = sample((6, 7))
    coarse = bending_energy(lattice, (11, 13), voxel_size=(2.0, 3.0))
    fine = bending_energy(lattice, (41, 49), voxel_size=(0.5, 0.75))
    torch.testing.assert_close(coarse, fine)


@pytest.mark.parametrize(("knots", "spacing"), [((5, 7), (2.0, 0.5)), ((4, 6, 5), (1.0, 3.0, 0.7))], ids=str)
def test_gradient_matches_the_entry_by_entry_definition(knots, spacing):
    lattice = sample(knots)
    _, gradient = torch.ops.medadv.bending_energy(lattice, list(spacing))
    for n, k in ((0, 0), (1, 2)):
        expected = definitions.bending_gradient(lattice[n, k].numpy(), list(spacing))
        np.testing.assert_allclose(gradient[n, k].numpy(), expected, rtol=1e-11, atol=1e-11)


def test_derivatives_of_any_order(device):
    check_gradients(lambda c: bending_energy(c, (9, 12), (1.0, 0.5)), [sample((4, 5), device=device)])
    check_gradients(lambda c: bending_energy(c, (9, 12, 5)), [sample((4, 4, 5), device=device)[:1, :1]])


def test_registration(device):
    check_registration(torch.ops.medadv.bending_energy.default, (sample((4, 5), device=device), [2.0, 3.0]))


def test_layouts(device):
    check_layouts(lambda c: bending_energy(c, (9, 11)), [sample((5, 6), device=device)])


def test_compiles(device):
    check_compiles(lambda c: bending_energy(c, (9, 11)), [sample((5, 6), device=device)])


def test_batching(device):
    check_batching(lambda c: bending_energy(c, (9, 11)), [sample((5, 6), device=device)])


def test_autocast_computes_in_float32(device):
    lattice = sample((4, 5), dtype=torch.bfloat16, device=device)
    with torch.autocast(device, torch.bfloat16):
        assert bending_energy(lattice, (9, 12)).dtype == torch.float32


def test_empty(device):
    for shape in ((0, 1, 4, 4), (2, 0, 4, 4)):
        lattice = torch.zeros(shape, device=device, requires_grad=True)
        energy = bending_energy(lattice, (5, 5))
        assert energy.shape == shape[:1]
        assert torch.autograd.grad(energy.sum(), lattice)[0].shape == shape


@pytest.mark.parametrize("exponent", [330, -330])
@pytest.mark.parametrize("axes", [2, 3])
def test_units_of_length_change_the_energy_by_their_power(axes, exponent):
    lattice, size = sample((4, 5, 6)[:axes]), (5, 7, 9)[:axes]
    found, one = (bending_energy(lattice, size, length) for length in (2.0**exponent, 1.0))
    assert torch.equal(found, one * 2.0 ** (exponent * (axes - 4)))


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((sample((4, 4)), (5, 5, 5)), "one entry per axis of the lattice \\(2\\)"),
        ((sample((4, 4)), (5, 5), (1.0, 1.0, 1.0)), "one entry per axis"),
        ((sample((4, 4)), (5, 1)), "size must be at least 2"),
        ((sample((4, 4)), (5, 5), 0.0), "voxel_size must be positive and finite"),
        ((sample((4, 4)), (5, 5), math.inf), "voxel_size must be positive and finite"),
        ((sample((4, 4)), (5, 5), (1.0, math.nan)), "voxel_size must be positive and finite"),
        (
            (sample((4, 4)), (5, 5), 1e308),
            "voxel_size must make the cube of a cell's length and its inverse finite, got",
        ),
        ((sample((4, 4)), (5, 5), (1.0, 1e103)), "the cube of a cell's length and its inverse finite, got \\(1.0, 1e"),
        ((sample((4, 4)), (5, 5), 1e-104), "the cube of a cell's length and its inverse finite, got 1e-104$"),
        ((sample((4, 4))[..., :3], (5, 5)), "field must have at least 4 control points"),
        ((sample((4, 4)).int(), (5, 5)), "field must be float16, bfloat16, float32 or float64"),
    ],
)
def test_bad_arguments_get_one_sentence(args, sentence):
    with pytest.raises(ValueError, match=f"^bending_energy: .*{sentence}"):
        bending_energy(*args)


def test_what_is_no_tensor_is_a_type_error():
    with pytest.raises(TypeError, match="field must be a torch.Tensor"):
        bending_energy(np.zeros((1, 1, 4, 4)), (5, 5))


def test_cells_have_a_length():
    with pytest.raises(ValueError, match=r"^bending_energy: spacing must be positive and finite, got \[1, 0\]$"):
        torch.ops.medadv.bending_energy(sample((4, 4)), [1.0, 0.0])
    with pytest.raises(ValueError, match=r"^bending_energy: spacing must be positive and finite, got \[inf, 1\]$"):
        torch.ops.medadv.bending_energy(sample((4, 4)), [float("inf"), 1.0])
