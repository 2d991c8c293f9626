#include "python/tensor.h"

#include <pybind11/stl.h>

#include "torch/common.h"

namespace py = pybind11;

namespace medadv {
namespace {

struct Dtype {
  char kind;  // as NumPy's dtype.kind
  int64_t size;
  ScalarType type;
};

constexpr Dtype kDtypes[] = {
    {'f', 2, ScalarType::Half}, {'f', 4, ScalarType::Float}, {'f', 8, ScalarType::Double}, {'b', 1, ScalarType::Bool},
    {'u', 1, ScalarType::Byte}, {'i', 1, ScalarType::Char},  {'i', 2, ScalarType::Short},  {'i', 4, ScalarType::Int},
    {'i', 8, ScalarType::Long},
};

const Dtype* find(const py::dtype& dtype) {
  for (const Dtype& known : kDtypes)
    if (dtype.kind() == known.kind && dtype.itemsize() == known.size) return &known;
  return nullptr;
}

py::dtype numpy_dtype(ScalarType type) {
  for (const Dtype& known : kDtypes)
    if (known.type == type) return py::dtype(known.kind == 'b' ? "?" : known.kind + std::to_string(known.size));
  throw std::logic_error("no such dtype in NumPy");
}

std::string words(const py::handle& value) { return py::str(value); }

// An array that can be used where it lies.
py::array usable(const char* op, const char* name, const py::object& value) {
  if (!py::isinstance<py::array>(value))
    throw py::type_error(std::string(op) + ": " + name + " must be a numpy.ndarray, got " +
                         words(py::type::handle_of(value).attr("__name__")));
  const auto array = py::reinterpret_borrow<py::array>(value);
  const py::dtype dtype = array.dtype();
  check(find(dtype), op, ": ", name, " must be float16, float32 or float64 (or, where labels are allowed, bool, uint8, "
        "int8, int16, int32 or int64), got ", words(dtype));
  check(dtype.byteorder() == '=' || dtype.byteorder() == '|', op, ": ", name, " must be in native byte order, got ",
        words(dtype.attr("str")));
  const int needed = int(py::array::c_style) | int(py::detail::npy_api::NPY_ARRAY_ALIGNED_);
  check((array.flags() & needed) == needed, op, ": ", name,
        " must be C-contiguous and aligned, as numpy.ascontiguousarray makes it, got strides ",
        words(array.attr("strides")), " for shape ", words(array.attr("shape")));
  return array;
}

bool overlap(const py::array& a, const py::array& b) {
  const auto begin = [](const py::array& c) { return static_cast<const char*>(c.data()); };
  return begin(a) < begin(b) + b.nbytes() && begin(b) < begin(a) + a.nbytes();
}

// The array that the caller wants the result in.
py::array given_out(python::Call& call, const std::vector<int64_t>& sizes, ScalarType type) {
  const py::array out = usable(call.op, "out", call.out);
  check(out.writeable(), call.op, ": out must be writeable");
  check(find(out.dtype())->type == type, call.op, ": out must be ", words(numpy_dtype(type)), ", got ",
        words(out.dtype()));
  const std::vector<int64_t> got(out.shape(), out.shape() + out.ndim());
  check(got == sizes, call.op, ": out must be ", text(sizes), ", got ", text(got));
  for (const py::array& input : call.arrays)
    check(!overlap(out, input), call.op, ": out must not share memory with an argument");
  call.out_used = true;
  return out;
}

}  // namespace

namespace torch::stable {

Tensor::Tensor(python::Call& call) : call_(&call), index_(call.arrays.size() - 1) {
  py::array& array = call.arrays.back();
  shape_.assign(array.shape(), array.shape() + array.ndim());
  type_ = find(array.dtype())->type;
  element_size_ = array.itemsize();
  data_ = const_cast<void*>(array.data());  // inputs may be read-only, and nothing writes to them
}

Tensor::Tensor(python::Call& call, const char* name, const py::object& value)
    : Tensor(call.keep(usable(call.op, name, value))) {}

}  // namespace torch::stable

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

Tensor make_empty(const Tensor& like, const std::vector<int64_t>& shape, std::optional<ScalarType> type) {
  const py::gil_scoped_acquire locked;
  python::Call& call = like.call();
  const ScalarType wanted = type.value_or(like.scalar_type());
  const bool given = !call.out.is_none() && !call.out_used;
  return Tensor(call.keep(given ? given_out(call, shape, wanted) : py::array(numpy_dtype(wanted), shape)));
}

Tensor make_zeros(const Tensor& like, const std::vector<int64_t>& shape, std::optional<ScalarType> type) {
  const py::gil_scoped_acquire locked;
  const py::object zeros = py::module_::import("numpy").attr("zeros");
  return Tensor(like.call().keep(zeros(py::cast(shape), numpy_dtype(type.value_or(like.scalar_type())))));
}

}  // namespace medadv
