import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medadv.perturbations.rounding import float32_at_most


@given(st.floats(min_value=-1e30, max_value=1e30))
def test_float32_at_most_is_the_largest_float32_below(value):
    found = np.float32(float32_at_most(value))
    assert float(found) <= value < float(np.nextafter(found, np.float32(math.inf)))
