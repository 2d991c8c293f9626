import math
from fractions import Fraction

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from medadv.perturbations.rounding import add_towards, float32_at_most

numbers = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**20), max_value=2.0**20)


@given(st.floats(min_value=-1e30, max_value=1e30))
def test_float32_at_most_is_the_largest_float32_below(value):
    found = np.float32(float32_at_most(value))
    assert float(found) <= value < float(np.nextafter(found, np.float32(math.inf)))


@given(numbers, numbers)
def test_sum_never_lies_further_from_the_target_than_the_change(base, change):
    x = torch.tensor([base], dtype=torch.float32)
    d = torch.tensor([change], dtype=torch.float32)
    total = add_towards(x, d, x)
    exact = Fraction(x.item()) + Fraction(d.item())
    assert abs(Fraction(total.item()) - Fraction(x.item())) <= abs(Fraction(d.item()))
    # It is one of the two float32 numbers around the exact sum.
    below, above = (torch.nextafter(total, torch.tensor([limit])).item() for limit in (-math.inf, math.inf))
    assert Fraction(below) < exact < Fraction(above)


@given(numbers, numbers, numbers)
def test_sum_errs_towards_the_target(base, change, target):
    x, d, t = (torch.tensor([number], dtype=torch.float32) for number in (base, change, target))
    total = Fraction(add_towards(x, d, t).item())
    exact = Fraction(x.item()) + Fraction(d.item())
    if Fraction(t.item()) < exact:
        assert total <= exact
    if Fraction(t.item()) > exact:
        assert total >= exact


def test_rounding_to_nearest_would_break_it():
    x = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    d = torch.full_like(x, float(np.float32(8 / 255)))
    assert ((x + d).double() - x.double() > d.double()).any()
    assert not (add_towards(x, d, x).double() - x.double() > d.double()).any()
