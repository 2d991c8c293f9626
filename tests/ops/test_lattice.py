import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import medadv.numpy
from medadv import ops
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


@pytest.mark.parametrize("spacing", ["wide", "12", None, (2.0, "wide")])
def test_a_spacing_that_is_no_number_is_a_type_error(spacing):
    with pytest.raises(TypeError, match="^lattice_shape: spacing must be a number or one per axis, got "):
        lattice_shape((5, 5), spacing)


FIELD = torch.zeros(1, 2, 8, 8)
NOT_LENGTHS = "wide", "12", None, (2.0, "wide")


@pytest.mark.parametrize("value", NOT_LENGTHS)
@pytest.mark.parametrize(
    ("sentence", "call"),
    [
        ("gaussian_blur: sigma", lambda value: ops.gaussian_blur(FIELD, value)),
        ("total_variation: voxel_size", lambda value: ops.total_variation(FIELD, value)),
        ("bending_energy: voxel_size", lambda value: ops.bending_energy(FIELD, None, value)),
        ("bending_energy: voxel_size", lambda value: ops.bending_energy(FIELD, (16, 16), value)),
        ("spline_field: voxel_size", lambda value: ops.spline_field(FIELD, (16, 16), (1, 0), value)),
        ("jacobian_determinant: voxel_size", lambda value: ops.jacobian_determinant(FIELD, None, value)),
        ("jacobian_determinant: voxel_size", lambda value: ops.jacobian_determinant(FIELD, (16, 16), value)),
        ("folding_penalty: voxel_size", lambda value: ops.folding_penalty(FIELD, None, value)),
        ("gaussian_blur: sigma", lambda value: medadv.numpy.gaussian_blur(FIELD.numpy(), value)),
        ("total_variation: voxel_size", lambda value: medadv.numpy.total_variation(FIELD.numpy(), value)),
        ("membrane_energy: voxel_size", lambda value: medadv.numpy.membrane_energy(FIELD.numpy(), None, value)),
        ("folding_penalty: voxel_size", lambda value: medadv.numpy.folding_penalty(FIELD.numpy(), None, value)),
    ],
)
def test_what_is_no_length_is_named(sentence, call, value):
    with pytest.raises(TypeError, match=f"^{sentence} must be a number or one per axis, got "):
        call(value)
