import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from medadv.perturbations.l1_ball import project_onto_l1


def setting(seed, size, scale):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(3, size, generator=generator, dtype=torch.float64) * scale
    low = -torch.rand(3, size, generator=generator, dtype=torch.float64)
    high = torch.rand(3, size, generator=generator, dtype=torch.float64)
    low[:, ::5] = 0
    high[:, 1::7] = 0
    return points, low, high


def by_root_finding(point, low, high, radius):
    def clipped(threshold):
        return np.clip(np.sign(point) * np.maximum(np.abs(point) - threshold, 0), low, high)

    def excess(threshold):
        return np.abs(clipped(threshold)).sum() - radius

    return clipped(0.0) if excess(0.0) <= 0 else clipped(brentq(excess, 0.0, np.abs(point).max(), xtol=1e-15))


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.01, 5), st.floats(0, 10))
def test_is_the_nearest_point(seed, size, scale, radius):
    points, low, high = setting(seed, size, scale)
    found = project_onto_l1(points, low, high, radius)
    for row in range(3):
        expected = by_root_finding(points[row].numpy(), low[row].numpy(), high[row].numpy(), radius)
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=0, atol=1e-10)
    assert float(found.abs().sum(1).max()) <= radius * (1 + 1e-12) + 1e-15
    assert bool(((found >= low) & (found <= high)).all())


def test_no_feasible_point_is_nearer():
    points, low, high = setting(0, 8, 2.0)
    found = project_onto_l1(points, low, high, 1.0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(500):
        other = project_onto_l1(torch.randn(3, 8, generator=generator, dtype=torch.float64), low, high, 1.0)
        assert bool(((points - found).norm(dim=1) <= (points - other).norm(dim=1) + 1e-12).all())


def test_inside_stays_and_a_ball_of_radius_zero_is_a_point():
    points, low, high = setting(0, 10, 0.5)
    inside = points.clamp(low, high)
    assert torch.equal(project_onto_l1(inside, low, high, 100.0), inside)
    assert bool((project_onto_l1(points, low, high, 0.0) == 0).all())


def test_equal_entries_share_the_radius():
    points = torch.full((1, 4), 2.0)
    box = torch.full((1, 4), 5.0)
    torch.testing.assert_close(project_onto_l1(points, -box, box, 2.0), torch.full((1, 4), 0.5, dtype=torch.float64))


def test_rows_do_not_depend_on_each_other():
    points, low, high = setting(3, 30, 2.0)
    whole = project_onto_l1(points, low, high, 2.0)
    for row in range(3):
        part = slice(row, row + 1)
        assert torch.equal(project_onto_l1(points[part], low[part], high[part], 2.0), whole[part])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_computes_in_float64(dtype):
    points, low, high = setting(0, 10, 2.0)
    assert project_onto_l1(points.to(dtype), low.to(dtype), high.to(dtype), 1.0).dtype == torch.float64
