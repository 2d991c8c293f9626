// Definitions: polynomial bias fields, thin-plate splines, and the logarithm that their loops use.
#include "core/log.h"
#include "core/polynomial_bias_field.h"
#include "python/arrays.h"
#include "python/definitions.h"

namespace medadv {
namespace {

using FloatArray = py::array_t<float, py::array::c_style>;

// One example: image [C, *S], coefficients [K, terms], weights [axes, rows] over a grid (of none, an empty one).
struct Polynomial {
  PolynomialBias<double> bias;
  std::vector<double> a;  // of the monic terms

  Polynomial(const Array& image, const Array& coefficients, const Array& weights, const std::vector<int64_t>& grid,
             int degree, int basis, int warp)
      : bias{{degree, int32_t(image.ndim() - 1)}, Recurrence<double>(PolynomialBasis(basis)), {}, 1, image.shape(0),
             coefficients.shape(0)} {
    const int32_t axes = bias.shape.axes;
    ControlGrid points{1, 1, 1, axes};
    if (!grid.empty()) points = {axes == 3 ? int32_t(grid[0]) : 1, int32_t(grid[axes - 2]), int32_t(grid[axes - 1]), axes};
    bias.motion = {CoordinateWarp(warp), volume_of({image.shape() + 1, image.shape() + image.ndim()}), points,
                   weights.data()};
    if (coefficients.shape(1) != bias.shape.terms() || weights.shape(1) != bias.motion.rows())
      throw py::value_error("coefficients or weights do not fit the degree or the grid");
    a.assign(coefficients.data(), coefficients.data() + coefficients.size());
    for (size_t i = 0; i < a.size(); ++i)
      a[i] *= bias.recurrence.term_scale(bias.shape.powers(int32_t(i % size_t(bias.shape.terms()))));
  }

  template <typename F>
  void for_each_voxel_of_sets(F f) const {
    for (int64_t set = 0; set < bias.sets; ++set)
      for_each(bias.size(), [&](int64_t, int32_t z, int32_t y, int32_t x) { f(set, z, y, x); });
  }
};

Array polynomial_bias_field(const Array& image, const Array& coefficients, const Array& weights,
                            const std::vector<int64_t>& grid, int degree, int basis, int warp) {
  const Polynomial p(image, coefficients, weights, grid, degree, basis, warp);
  Array out(shape_of(image));
  using Voxel = BiasVoxel<double, double>;
  p.for_each_voxel_of_sets(
      PolynomialField<double, Voxel>{p.bias, p.a.data(), Voxel{image.data(), out.mutable_data()}});
  return out;
}

std::pair<Array, Array> polynomial_bias_field_backward(const Array& grad, const Array& out, const Array& coefficients,
                                                       const Array& weights, const std::vector<int64_t>& grid,
                                                       int degree, int basis, int warp) {
  const Polynomial p(out, coefficients, weights, grid, degree, basis, warp);
  Array grad_coefficients(shape_of(coefficients)), grad_weights(shape_of(weights));
  std::fill_n(grad_coefficients.mutable_data(), grad_coefficients.size(), 0.0);
  std::fill_n(grad_weights.mutable_data(), grad_weights.size(), 0.0);
  using Force = OutputForce<double, double>;
  p.for_each_voxel_of_sets(PolynomialForce<double, Force>{p.bias, p.a.data(), Force{grad.data(), out.data()},
                                                          grad_coefficients.mutable_data(),
                                                          grad_weights.mutable_data()});
  return {grad_coefficients, grad_weights};
}

FloatArray log_positive_of(const FloatArray& values) {
  FloatArray out(values.size());
  for (py::ssize_t i = 0; i < values.size(); ++i) out.mutable_data()[i] = log_positive(values.data()[i]);
  return out;
}

}  // namespace

void define_polynomials(py::module_& m) {
  m.def("polynomial_bias_field", &polynomial_bias_field, py::arg("image"), py::arg("coefficients"), py::arg("weights"),
        py::arg("grid"), py::arg("degree"), py::arg("basis"), py::arg("warp"),
        "image [C, *S] times the exponential of a polynomial [K, terms]; weights [axes, rows] of the motion.");
  m.def("polynomial_bias_field_backward", &polynomial_bias_field_backward, py::arg("grad"), py::arg("out"),
        py::arg("coefficients"), py::arg("weights"), py::arg("grid"), py::arg("degree"), py::arg("basis"),
        py::arg("warp"), "Its gradients to coefficients and weights, from its output.");
  m.def("log_positive", &log_positive_of, py::arg("values"), "The vectorised logarithm of normal positive float32.");
}

}  // namespace medadv
