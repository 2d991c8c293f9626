import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

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


FIELD = 4 * torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
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


NOT_SIZES = (16.0, 16.5), (True, 16), (np.True_, 16), (torch.tensor(16), 16), ([16], [16]), "99", 16, np.array(16)
OF_LATTICES = "spline_field", "bending_energy", "membrane_energy", "jacobian_determinant", "folding_penalty"
LIBRARIES = pytest.mark.parametrize("library", [ops, medadv.numpy], ids=["ops", "numpy"])


def of_size(library, op, size, field=FIELD):
    if op == "lattice_shape":
        return library.lattice_shape(size, 2)
    return getattr(library, op)(field if library is ops else field.numpy(), size)


@pytest.mark.parametrize("size", NOT_SIZES, ids=repr)
@pytest.mark.parametrize("op", [*OF_LATTICES, "lattice_shape"])
@LIBRARIES
def test_sizes_that_are_no_whole_numbers_are_named(library, op, size):
    with pytest.raises(TypeError, match=f"^{op}: size must be whole numbers, one per axis, got ") as error:
        of_size(library, op, size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("op", ["spline_field", "lattice_shape"])
@LIBRARIES
def test_a_size_that_is_needed_is_named(library, op):
    with pytest.raises(TypeError, match=f"^{op}: size must be whole numbers, one per axis, got None$"):
        of_size(library, op, None)


@pytest.mark.parametrize("derivative", [(0.9, 1.9), (True, 0), "01", 1], ids=repr)
@LIBRARIES
def test_orders_that_are_no_whole_numbers_are_named(library, derivative):
    lattice = FIELD if library is ops else FIELD.numpy()
    with pytest.raises(TypeError, match="^spline_field: derivative must be whole numbers, one per axis, got "):
        library.spline_field(lattice, (16, 16), derivative)


@pytest.mark.parametrize(
    "size", [(np.int64(9), np.uint8(16)), np.array([9, 16]), [9, 16], torch.Size((9, 16))], ids=repr
)
@pytest.mark.parametrize("op", [*OF_LATTICES, "lattice_shape"])
@LIBRARIES
def test_whole_numbers_of_any_library_are_sizes(library, op, size):
    assert np.array_equal(of_size(library, op, size), of_size(library, op, (9, 16)))


@pytest.mark.parametrize("op", OF_LATTICES)
def test_a_traced_size_is_a_size(op):
    """Whichever way torch traces it."""

    def call(lattice, image):
        return of_size(ops, op, image.shape[2:], lattice)

    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")
    for height in (9, 12):
        image = torch.zeros(1, 1, height, 16)
        traced = make_fx(call, tracing_mode="symbolic")(FIELD, image)
        for found in (traced, compiled):
            assert torch.equal(found(FIELD, image), call(FIELD, image))


@pytest.mark.parametrize("value", [None, "1.5", True, (1.5,), torch.tensor(1.5)], ids=repr)
@pytest.mark.parametrize(
    ("sentence", "call"),
    [
        ("gaussian_blur: truncate", lambda value: ops.gaussian_blur(FIELD, 1.0, truncate=value)),
        ("folding_penalty: threshold", lambda value: ops.folding_penalty(FIELD, threshold=value)),
        ("folding_penalty: threshold", lambda value: ops.folding_penalty(FIELD, (16, 16), threshold=value)),
        ("gaussian_blur: truncate", lambda value: medadv.numpy.gaussian_blur(FIELD.numpy(), 1.0, truncate=value)),
        ("folding_penalty: threshold", lambda value: medadv.numpy.folding_penalty(FIELD.numpy(), threshold=value)),
        (
            "folding_penalty: threshold",
            lambda value: medadv.numpy.folding_penalty(FIELD.numpy(), (16, 16), threshold=value),
        ),
    ],
)
def test_what_is_no_number_is_named(sentence, call, value):
    with pytest.raises(TypeError, match=f"^{sentence} must be a number, got "):
        call(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda value: ops.gaussian_blur(FIELD, 1.0, truncate=value),
        lambda value: ops.folding_penalty(FIELD, threshold=value),
    ],
)
def test_a_traced_number_is_a_number(call):
    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")
    for value in (1.5, 2.5):
        assert torch.equal(compiled(value), call(value))
