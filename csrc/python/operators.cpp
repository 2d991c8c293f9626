// The NumPy door: the operators of torch/, over arrays instead of tensors and with threads of our own.
//
// To add one: include its header, and define it below by its name and those of its arguments. That makes
//   medadv._core.operators.NAME(arguments..., *, out=None, threads=0)
// with tensors as arrays, optional ones as arrays or None, and everything else (numbers, lists of them) as it is. The
// GIL is released meanwhile. The first tensor that an operator makes with make_empty goes to `out`; one that makes none
// takes no `out`. Then describe it in medadv/_core/operators.pyi, and give it its words, defaults and docstring in
// medadv/numpy.py.
#include "python/tensor.h"
#include "python/threads.h"

#include <pybind11/stl.h>

#include <optional>
#include <tuple>
#include <type_traits>

#include "cpu/backend.h"
#include "python/operators.h"
#include "torch/bias_field.h"
#include "torch/dense_energy.h"
#include "torch/gaussian_blur.h"
#include "torch/jacobian.h"
#include "torch/lattice_energy.h"
#include "torch/noise.h"
#include "torch/polynomial_bias_field.h"
#include "torch/row_length.h"
#include "torch/spline_field.h"
#include "torch/spline_jacobian.h"
#include "torch/spline_warp.h"
#include "torch/transform_chain.h"
#include "torch/warp.h"

namespace medadv {
namespace {

namespace py = pybind11;
using python::Call;

template <typename Argument>
constexpr bool kIsTensor = std::is_same_v<std::remove_cvref_t<Argument>, Tensor>;
template <typename Argument>
constexpr bool kIsOptionalTensor = std::is_same_v<std::remove_cvref_t<Argument>, std::optional<Tensor>>;

// What pybind11 hands over for an argument of an operator.
template <typename Argument>
using Received = std::conditional_t<kIsTensor<Argument> || kIsOptionalTensor<Argument>, py::object,
                                    std::remove_cvref_t<Argument>>;

template <typename Argument>
std::remove_cvref_t<Argument> receive(Call& call, const char* name, Received<Argument>& value) {
  if constexpr (kIsOptionalTensor<Argument>)
    return value.is_none() ? std::nullopt : std::optional<Tensor>(std::in_place, call, name, value);
  else if constexpr (kIsTensor<Argument>)
    return Tensor(call, name, value);
  else
    return std::move(value);
}

py::object returned(const Tensor& result) { return result.array(); }

template <typename... Tensors>
py::object returned(const std::tuple<Tensors...>& results) {
  return std::apply([](const auto&... result) { return py::make_tuple(returned(result)...); }, results);
}

template <typename Result, typename... Arguments, typename... Names>
void define(py::module_& m, const char* op, Result (*function)(Arguments...), Names... names) {
  static_assert(sizeof...(Arguments) == sizeof...(Names), "a name for every argument");
  m.def(
      op,
      [=](Received<Arguments>... values, py::object out, int threads) {
        Call call{op, threads, std::move(out)};
        std::tuple<std::remove_cvref_t<Arguments>...> inputs{receive<Arguments>(call, names, values)...};
        const Result result = [&] {
          const py::gil_scoped_release unlocked;
          return std::apply(function, std::move(inputs));
        }();
        check(call.out_used || call.out.is_none(), op, ": out is not taken");
        return returned(result);
      },
      py::arg(names)..., py::kw_only(), py::arg("out") = py::none(), py::arg("threads") = 0);
}

}  // namespace

void define_operators(py::module_& m) {
  using Cpu = cpu::Backend<python::Threads>;
  define(m, "bias_field", &bias_field<Cpu>, "image", "lattice");
  define(m, "polynomial_bias_field", &polynomial_bias_field<Cpu>, "image", "coefficients", "weights", "grid", "degree",
         "basis", "warp");
  define(m, "spline_field", &spline_field<Cpu>, "lattice", "size");
  define(m, "spline_derivative", &spline_derivative<Cpu>, "lattice", "size", "derivative", "voxel_size");
  define(m, "spline_warp", &spline_warp<Cpu>, "image", "lattice", "interpolation", "padding");
  define(m, "warp", &warp<Cpu>, "image", "displacement", "interpolation", "padding");
  define(m, "compose", &warp<Cpu>, "outer", "inner", "interpolation", "padding");  // but for adding inner
  define(m, "transform_chain", &transform_chain<Cpu>, "image", "displacement", "log_gain", "noise", "bounds", "origin",
         "interpolation", "padding");
  define(m, "gaussian_blur", &gaussian_blur<Cpu>, "image", "sigma", "padding", "truncate");
  define(m, "add_noise", &add_noise<Cpu>, "image", "noise", "towards", "low", "high");
  define(m, "project_noise", &project_noise<Cpu>, "image", "noise", "low", "high", "radius", "norm");
  define(m, "sign_step", &sign_step<Cpu>, "image", "noise", "gradient", "length", "low", "high", "radius");
  define(m, "unit_step", &unit_step<Cpu>, "image", "noise", "gradient", "length", "low", "high", "radius", "norm");
  define(m, "row_lengths", &row_lengths<Cpu>, "values", "origin", "norm");
  define(m, "unit_rows", &unit_rows<Cpu>, "values", "norm");
  define(m, "bending_energy", &bending_energy<Cpu>, "lattice", "spacing");
  define(m, "membrane_energy", &membrane_energy<Cpu>, "lattice", "spacing");
  define(m, "dense_bending_energy", &dense_bending_energy<Cpu>, "field", "voxel_size");
  define(m, "dense_membrane_energy", &dense_membrane_energy<Cpu>, "field", "voxel_size");
  define(m, "dense_total_variation", &dense_total_variation<Cpu>, "field", "voxel_size");
  define(m, "jacobian_determinant", &jacobian_determinant<Cpu>, "displacement", "voxel_size");
  define(m, "folding_penalty", &folding_penalty<Cpu>, "displacement", "voxel_size", "threshold");
  define(m, "spline_jacobian_determinant", &spline_jacobian_determinant<Cpu>, "lattice", "size", "voxel_size");
  define(m, "spline_folding_penalty", &spline_folding_penalty<Cpu>, "lattice", "size", "voxel_size", "threshold");
}

}  // namespace medadv
