import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from support import distances

from medadv.attacks.minimum_norm.hyperplane import to_hyperplane
from medadv.attacks.minimum_norm.length import length

NORMS = ("linf", "l2", "l1")


def problem(seed, size=7, share=0.5):
    """A weight, a box around 0 and a rise that uses up a share of what the box allows."""
    random = np.random.default_rng(seed)
    weight = random.normal(size=size)
    low, high = -random.random(size), random.random(size)
    if seed % 3 == 0:
        low[:2], high[1:3], weight[3] = 0, 0, 0
    most = np.maximum(weight * high, weight * low).sum()
    return weight, share * most, low, high


def solved(weight, rise, low, high, norm):
    """One row of `to_hyperplane`, as NumPy."""
    rows = [torch.from_numpy(np.asarray(values))[None] for values in (weight, rise, low, high)]
    return to_hyperplane(*rows, norm)[0].numpy()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_linf_and_l1_are_what_a_linear_program_finds(seed, share):
    weight, rise, low, high = problem(seed, share=share)
    size = len(weight)
    # Unknown: the change, and bounds on its size: of all entries together for linf, of each for l1.
    for norm, bounds_count in (("linf", 1), ("l1", size)):
        cost = np.r_[np.zeros(size), np.ones(bounds_count)]
        limit = np.ones((size, 1)) if norm == "linf" else np.eye(size)
        inequalities = np.block([[np.eye(size), -limit], [-np.eye(size), -limit]])
        best = linprog(
            cost,
            A_ub=inequalities,
            b_ub=np.zeros(2 * size),
            A_eq=np.r_[weight, np.zeros(bounds_count)][None],
            b_eq=[rise],
            bounds=[*zip(low, high, strict=True), *[(0, None)] * bounds_count],
        )
        change = solved(weight, rise, low, high, norm)
        assert np.linalg.norm(change, distances.ORDERS[norm]) == pytest.approx(best.fun, rel=1e-9)
        assert weight @ change == pytest.approx(rise, rel=1e-12)
        assert bool(((change >= low - 1e-15) & (change <= high + 1e-15)).all())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_l2_is_what_a_quadratic_program_finds(seed, share):
    weight, rise, low, high = problem(seed, share=share)
    best = minimize(
        lambda d: d @ d,
        np.zeros_like(weight),
        jac=lambda d: 2 * d,
        bounds=list(zip(low, high, strict=True)),
        constraints={"type": "eq", "fun": lambda d: weight @ d - rise, "jac": lambda d: weight},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    change = solved(weight, rise, low, high, "l2")
    np.testing.assert_allclose(change, best.x, atol=1e-5)
    assert change @ change <= best.x @ best.x * (1 + 1e-6)
    assert weight @ change == pytest.approx(rise, rel=1e-12)
    assert bool(((change >= low - 1e-15) & (change <= high + 1e-15)).all())


@pytest.mark.parametrize("norm", NORMS)
def test_agrees_with_bisection_on_large_rows(norm):
    for seed in range(5):
        weight, rise, low, high = problem(seed, size=500, share=0.2 * seed + 0.1)
        change = solved(weight, rise, low, high, norm)
        expected = distances.to_hyperplane(weight, rise, low, high, norm)
        assert np.linalg.norm(change, distances.ORDERS[norm]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_l0_is_the_smallest_of_all_sets_of_entries(seed, share):
    weight, rise, low, high = problem(seed, size=8, share=share)
    gains = np.maximum(weight * high, weight * low)
    enough = [
        count
        for count in range(1, 9)
        if any(gains[list(chosen)].sum() >= rise for chosen in itertools.combinations(range(8), count))
    ]
    change = solved(weight, rise, low, high, "l0")
    assert np.count_nonzero(change) == enough[0]
    assert weight @ change == pytest.approx(rise, rel=1e-12)
    assert bool(((change >= low - 1e-15) & (change <= high + 1e-15)).all())


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_box_the_length_is_the_rise_over_the_dual_norm(norm):
    weight = torch.randn(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rise = torch.tensor([1.0, -2.0, 0.5, 3.0, -0.1], dtype=torch.float64)
    box = torch.full_like(weight, 1e6)
    change = to_hyperplane(weight, rise, -box, box, norm)
    torch.testing.assert_close((weight * change).sum(1), rise)
    dual = {"linf": 1, "l2": 2, "l1": torch.inf}[norm]
    torch.testing.assert_close(length(change, norm), rise.abs() / torch.linalg.vector_norm(weight, dual, 1))


@pytest.mark.parametrize("norm", [*NORMS, "l0"])
def test_a_box_too_small_is_filled_in_the_direction_that_helps(norm):
    weight = torch.tensor([[2.0, -1.0, 0.0]])
    low, high = torch.tensor([[-0.1, -0.2, -0.3]]), torch.tensor([[0.4, 0.5, 0.6]])
    torch.testing.assert_close(
        to_hyperplane(weight, torch.tensor([99.0]), low, high, norm), torch.tensor([[0.4, -0.2, 0.0]])
    )
    torch.testing.assert_close(
        to_hyperplane(weight, torch.tensor([-99.0]), low, high, norm), torch.tensor([[-0.1, 0.5, 0.0]])
    )


@pytest.mark.parametrize("norm", [*NORMS, "l0"])
def test_nothing_to_do_and_nothing_that_can_be_done(norm):
    box = torch.ones(2, 3)
    weight = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    change = to_hyperplane(weight, torch.tensor([0.0, 1.0]), -box, box, norm)
    assert torch.equal(change, torch.zeros(2, 3))


@pytest.mark.parametrize("norm", [*NORMS, "l0"])
def test_rows_do_not_depend_on_each_other(norm):
    generator = torch.Generator().manual_seed(0)
    weight, rise = torch.randn(20, 40, generator=generator), torch.randn(20, generator=generator)
    high = torch.rand(20, 40, generator=generator)
    whole = to_hyperplane(weight, rise, -high, high, norm)
    for row in range(20):
        part = slice(row, row + 1)
        assert torch.equal(to_hyperplane(weight[part], rise[part], -high[part], high[part], norm), whole[part])


@pytest.mark.parametrize("norm", [*NORMS, "l0"])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e20])
def test_float32_is_as_exact_as_float32_can_be(norm, scale):
    rows = [problem(seed, size=300, share=0.02 + 0.11 * seed) for seed in range(9)]
    weight, rise, low, high = (torch.from_numpy(np.stack(parts)) for parts in zip(*rows, strict=True))
    change = to_hyperplane((scale * weight).float(), scale * rise, low.float(), high.float(), norm)
    expected = to_hyperplane(weight, rise, low, high, norm)
    assert change.dtype == torch.float32
    torch.testing.assert_close((weight * change).sum(1), rise, rtol=1e-5, atol=0)
    torch.testing.assert_close(length(change, norm), length(expected, norm), rtol=1e-5, atol=0)
    assert bool(((change >= low.float()) & (change <= high.float())).all())
