import math

import pytest
import torch
from support.operators import bits_for_threads, check_batching, check_layouts
from torch.library import opcheck

from medadv.ops import row_lengths, unit_rows

ORDERS = {"linf": math.inf, "l1": 1, "l2": 2}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# One number, rows that no vector divides, rows of several pieces.
SHAPES = [(1, 1), (3,), (4, 2, 5, 7), (2, 1, 131, 127), (3, 20_001)]


def sample(shape, *, dtype=torch.float32, device="cpu", seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.float64).to(device, dtype)


def lengths_by_torch(values, norm):
    return torch.linalg.vector_norm(values.double().reshape(len(values), -1), ORDERS[norm], dim=1)


@pytest.mark.parametrize("norm", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lengths_are_those_of_torch_in_float64(device, norm, dtype, shape):
    values, origin = (sample(shape, dtype=dtype, device=device, seed=seed) for seed in (0, 1))
    torch.testing.assert_close(row_lengths(values, norm), lengths_by_torch(values, norm), rtol=1e-14, atol=0)
    difference = values.double() - origin.double()
    torch.testing.assert_close(
        row_lengths(values, norm, origin), lengths_by_torch(difference, norm), rtol=1e-14, atol=0
    )


@pytest.mark.parametrize("norm", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unit_rows_have_length_one(device, norm, dtype, shape):
    values = sample(shape, dtype=dtype, device=device)
    lengths = row_lengths(values, norm).reshape(-1, *[1] * (len(shape) - 1))
    got = unit_rows(values, norm)
    assert got.dtype == dtype
    assert torch.equal(got, (values.double() * (1 / lengths)).to(dtype))  # rounded once


@pytest.mark.parametrize("norm", ORDERS)
def test_rows_of_any_size(device, norm):
    """Squares of small and of large entries neither vanish nor overflow; zeros stay; what is no number is seen."""
    values = torch.tensor([[3e-30, 4e-30], [3e30, -4e30], [0.0, 0.0]], device=device)
    unit = unit_rows(values, norm)
    torch.testing.assert_close(row_lengths(unit, norm).cpu(), torch.tensor([1.0, 1.0, 0.0]).double())
    shortest = torch.tensor([[0.0, 5e-324], [0.0, 1e-307]], dtype=torch.float64, device=device)
    units = unit_rows(shortest, norm).cpu()
    assert units[0].tolist() == [0.0, 5e-324]  # 1 / 5e-324 overflows
    assert units[1].tolist() == [0.0, 1.0 if norm != "l2" else 1e-307]  # whose square vanishes
    values[2, 1] = torch.nan
    assert row_lengths(values, norm).isnan().tolist() == [False, False, True]
    assert row_lengths(values.flip(1), norm).isnan().tolist() == [False, False, True]


@pytest.mark.parametrize("norm", ORDERS)
def test_a_length_does_not_depend_on_the_batch(device, norm):
    values = sample((7, 3, 101, 97), device=device)
    alone = torch.cat([row_lengths(row, norm) for row in values.split(1)])
    assert torch.equal(row_lengths(values, norm), alone)
    assert torch.equal(torch.cat([unit_rows(row, norm) for row in values.split(1)]), unit_rows(values, norm))


@pytest.mark.parametrize("norm", ORDERS)
def test_registration_layouts_and_batching(device, norm):
    values, origin = (sample((3, 2, 5, 4), device=device, seed=seed) for seed in (0, 1))
    number = list(ORDERS).index(norm)
    opcheck(torch.ops.medadv.row_lengths, (values, None, number))
    opcheck(torch.ops.medadv.row_lengths, (values, origin, number))
    opcheck(torch.ops.medadv.unit_rows, (values, number))
    for function in (lambda v: row_lengths(v, norm), lambda v: unit_rows(v, norm)):
        check_layouts(function, [values])
        check_batching(function, [values])
    check_batching(lambda v, o: row_lengths(v, norm, o), [values, origin])


def test_compiles(device):
    torch._dynamo.reset()
    values = sample((3, 2, 5, 4), device=device)
    compiled = torch.compile(lambda v: unit_rows(v, "l1") * row_lengths(v).sum(), fullgraph=True)
    torch.testing.assert_close(compiled(values), unit_rows(values, "l1") * row_lengths(values).sum())


def test_same_bits_for_any_number_of_threads():
    values = sample((3, 1, 301, 517))
    for norm in ORDERS:
        one_thread, two_threads = bits_for_threads(
            lambda norm=norm: (row_lengths(values, norm), unit_rows(values, norm))
        )
        assert all(torch.equal(a, b) for a, b in zip(one_thread, two_threads, strict=True))


def test_no_rows_and_no_entries():
    assert row_lengths(torch.zeros(0, 3)).shape == (0,)
    assert row_lengths(torch.zeros(2, 0)).tolist() == [0.0, 0.0]
    assert unit_rows(torch.zeros(2, 0)).shape == (2, 0)


def test_no_gradient():
    values = sample((2, 3)).requires_grad_()
    assert not row_lengths(values).requires_grad
    assert not unit_rows(values).requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: row_lengths(torch.tensor(1.0)), "values must have at least one axis"),
        (lambda: row_lengths(torch.ones(2, 2, dtype=torch.int64)), "values must be float16"),
        (lambda: row_lengths(torch.ones(2, 2), "l2", torch.ones(2, 3)), "origin must have the shape of values"),
        (lambda: unit_rows(torch.ones(2, 2), "l3"), "norm must be one of linf, l1, l2, got 'l3'"),
        (lambda: torch.ops.medadv.unit_rows(torch.ones(2, 2), 3), "norm must be 0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_refuses_what_is_no_tensor():
    with pytest.raises(TypeError, match="origin must be a torch.Tensor, got float"):
        row_lengths(torch.ones(2, 2), "l2", 0.0)
