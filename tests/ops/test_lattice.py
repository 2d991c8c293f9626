import pytest
from hypothesis import given
from hypothesis import strategies as st

from medadv.ops import lattice_shape


@given(size=st.integers(1, 5000), spacing=st.floats(0.3, 300))
def test_the_spacing_is_the_closest_that_divides_the_axis(size, spacing):
    (knots,) = lattice_shape((size,), spacing)
    cells = knots - 3
    assert cells >= 1
    best = min(range(1, max(2, size * 4 + 2)), key=lambda n: abs(n - (size - 1) / spacing))
    assert abs(cells - (size - 1) / spacing) <= abs(best - (size - 1) / spacing) + 1e-9


@pytest.mark.parametrize(
    ("size", "spacing", "sentence"),
    [
        ((5, 5), (1.0,), "one per axis"),
        ((5, 0), 2, "at least 1"),
        ((5, 5), 0, "positive"),
        ((5,), float("nan"), "positive"),
    ],
)
def test_bad_arguments_get_one_sentence(size, spacing, sentence):
    with pytest.raises(ValueError, match=f"^lattice_shape: .*{sentence}"):
        lattice_shape(size, spacing)


@pytest.mark.parametrize("spacing", ["wide", None, (2.0, "wide")])
def test_a_spacing_that_is_no_number_is_a_type_error(spacing):
    with pytest.raises(TypeError, match="^lattice_shape: spacing must be a number or one per axis, got "):
        lattice_shape((5, 5), spacing)
