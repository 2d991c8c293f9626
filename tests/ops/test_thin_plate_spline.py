import numpy as np
import pytest
import torch
from support import polynomials
from support.operators import check_batching, check_gradients, check_registration

from medadv._core import definitions
from medadv.ops.thin_plate_spline import thin_plate_weights

GRIDS = [(2, 2), (3, 5), (8, 8), (2, 2, 2), (3, 2, 4), (4, 4, 4)]


def values(grid, n=2, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    return (torch.rand(n, len(grid), *grid, generator=g, dtype=torch.float64) * 2 - 1).to(dtype)


def spline(weights, grid, at):
    """Evaluated at points [P, axes] in float64."""
    knots = polynomials.coordinates(grid).flatten(1).T
    rows = torch.cat([polynomials._kernel(at, knots), torch.ones(len(at), 1), at], 1)
    return weights.double() @ rows.T


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_goes_through_its_control_points(grid):
    control = values(grid)
    knots = polynomials.coordinates(grid).flatten(1).T
    torch.testing.assert_close(spline(thin_plate_weights(control), grid, knots), control.flatten(2), rtol=0, atol=1e-11)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_matches_scipy(grid):
    interpolate = pytest.importorskip("scipy.interpolate")
    control = values(grid, n=1)
    at = torch.rand(50, len(grid), generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    kernel = "thin_plate_spline" if len(grid) == 2 else "linear"  # SciPy's thin-plate kernel is that of the plane
    knots = polynomials.coordinates(grid).flatten(1).T.numpy()
    expected = interpolate.RBFInterpolator(knots, control[0].flatten(1).T.numpy(), kernel=kernel, degree=1)(at.numpy())
    np.testing.assert_allclose(spline(thin_plate_weights(control), grid, at)[0].T, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_an_affine_map_has_no_other_weights(grid):
    weights = thin_plate_weights(polynomials.coordinates(grid)[None] * 0.5 + 0.25)[0]
    points = weights.shape[1] - 1 - len(grid)
    assert weights[:, :points].abs().max() < 1e-11
    torch.testing.assert_close(
        weights[:, points:],
        torch.cat([torch.full((len(grid), 1), 0.25), torch.eye(len(grid)) / 2], 1).double(),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("grid", [(3, 4), (2, 3, 2)], ids=str)
def test_registration_and_derivatives(grid):
    control = values(grid)
    check_registration(torch.ops.medadv.thin_plate_weights.default, (control,))
    check_registration(torch.ops.medadv.thin_plate_weights_adjoint.default, (thin_plate_weights(control), list(grid)))
    check_gradients(thin_plate_weights, [control])
    check_batching(thin_plate_weights, [control])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_weights_have_the_arithmetic_type(dtype):
    control = values((3, 3), dtype=dtype).requires_grad_()
    weights = thin_plate_weights(control)
    assert weights.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.autograd.grad(weights.sum(), control)[0].dtype == dtype


def test_autocast_does_not_round_the_weights():
    control = values((4, 4), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(thin_plate_weights(control), thin_plate_weights(control.clone()))
        weights = thin_plate_weights(control)
    assert torch.equal(weights, thin_plate_weights(control))


def test_cached_in_inference_mode_it_still_serves_training():
    with torch.inference_mode():
        thin_plate_weights(values((5, 7)))
    control = values((5, 7)).requires_grad_()
    thin_plate_weights(control).sum().backward()
    assert control.grad.isfinite().all()


def test_the_vectorised_logarithm():
    rng = np.random.default_rng(0)
    powers = np.exp(rng.uniform(np.log(1.2e-38), np.log(3e38), 200_000))
    near_one = rng.uniform(0.5, 2, 200_000)
    v = np.concatenate([powers, near_one, 1 + rng.uniform(-1e-3, 1e-3, 1000)]).astype(np.float32)
    exact = np.log(v.astype(np.float64))
    error = np.abs(definitions.log_positive(v) - exact)
    assert (error <= 3e-7 * np.abs(exact)).all(), (error / np.abs(exact)).max()
    assert definitions.log_positive(np.ones(1, np.float32))[0] == 0
