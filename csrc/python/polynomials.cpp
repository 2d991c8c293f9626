// Definitions: polynomial bias fields, thin-plate splines, and the logarithm that their loops use.
#include <cmath>
#include <cstring>

#include "core/log.h"
#include "core/polynomial_tile.h"
#include "python/definitions.h"
#include "python/tiles.h"

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
    if (!grid.empty())
      points = {axes == 3 ? int32_t(grid[0]) : 1, int32_t(grid[axes - 2]), int32_t(grid[axes - 1]), axes};
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

// --- as the CUDA kernels compute them, run on the host: see python/tiles.h ---

template <typename F>
void for_each_tile(const PolynomialTiling& tiling, const Volume& size, int64_t sets, F f) {
  for (int32_t set = 0; set < int32_t(sets); ++set)
    for (int32_t z = 0; z < size.z; ++z)
      for (int32_t y = 0; y < tiling.y; ++y)
        for (int32_t x = 0; x < tiling.x; ++x)
          f(PolynomialTile{0, set, z, y, x}, (int64_t(set * size.z + z) * tiling.y + y) * tiling.x + x);
}

Array tiled_polynomial_bias_field(const Array& image, const Array& coefficients, const Array& weights,
                                  const std::vector<int64_t>& grid, int degree, int basis, int warp, uint32_t seed) {
  const Polynomial p(image, coefficients, weights, grid, degree, basis, warp);
  Array out(shape_of(image));
  const BiasVoxel<double, double> voxel{image.data(), out.mutable_data(),
                                        quads_aligned(p.bias.size().x, image.data(), out.data())};
  const HostTeam<kPolynomialThreads> team{seed};
  for_each_tile(PolynomialTiling(p.bias.size(), kPolynomialWidth), p.bias.size(), p.bias.sets,
                [&](const PolynomialTile& tile, int64_t) {
                  const auto memory = undefined_memory<PolynomialForward<double>>();
                  const double* a = coefficients.data() + tile.set * p.bias.shape.terms();
                  if (warp == 0) memory->run_still(team, p.bias, a, tile, voxel);
                  else memory->run_moved(team, p.bias, a, tile, voxel);
                });
  return out;
}

std::pair<Array, Array> tiled_polynomial_bias_field_backward(const Array& grad, const Array& out,
                                                             const Array& coefficients, const Array& weights,
                                                             const std::vector<int64_t>& grid, int degree, int basis,
                                                             int warp, uint32_t seed) {
  const Polynomial p(out, coefficients, weights, grid, degree, basis, warp);
  const PolynomialBias<double>& bias = p.bias;
  const bool still = warp == 0;
  Array grad_coefficients(shape_of(coefficients)), grad_weights(shape_of(weights));
  const OutputForce<double, double> force{grad.data(), out.data()};
  const PolynomialTiling tiling(bias.size(), still ? kPolynomialWidth : kMovedThreads<double>);
  const int64_t sums = still ? PolynomialShape{degree, 2}.terms() : moved_sums(bias, true);
  const int64_t sets = still ? bias.sets : 1;
  std::vector<double> partial(size_t(sets * bias.size().z * tiling.per_plane() * sums), std::nan(""));
  for_each_tile(tiling, bias.size(), sets, [&](const PolynomialTile& tile, int64_t index) {
    double* to = &partial[size_t(index * sums)];
    if (still) {
      const auto memory = undefined_memory<PolynomialStillBackward<double>>();
      memory->run(HostTeam<kPolynomialThreads>{seed}, bias, tile, force, to);
    } else {
      const auto memory = undefined_memory<PolynomialMovedBackward<double>>();
      memory->run(HostTeam<kMovedThreads<double>>{seed}, bias, coefficients.data(), tile, force, true, to);
    }
  });
  const GatherTerm<double, double> gather{bias, tiling, partial.data(), sums, grad_coefficients.mutable_data(),
                                          grad_weights.mutable_data()};
  for (int32_t i = 0; i < (still ? bias.sets * bias.shape.terms() : sums); ++i) {
    double sum[kTermThreads];
    std::memset(sum, 0xff, sizeof sum);
    gather.run(HostTeam<kTermThreads>{seed}, sum, 0, i);
  }
  for (int32_t point = 0; bias.motion.warp == CoordinateWarp::flow && point < bias.motion.rows(); ++point) {
    const auto memory = undefined_memory<FlowGather<double>>();
    memory->run(HostTeam<kFlowThreads>{seed}, bias, coefficients.data(), 0, point, force, grad_weights.mutable_data());
  }
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
  m.def("tiled_polynomial_bias_field", &tiled_polynomial_bias_field, py::arg("image"), py::arg("coefficients"),
        py::arg("weights"), py::arg("grid"), py::arg("degree"), py::arg("basis"), py::arg("warp"), py::arg("seed") = 0,
        "The same as the CUDA kernel computes it, run on the host.");
  m.def("tiled_polynomial_bias_field_backward", &tiled_polynomial_bias_field_backward, py::arg("grad"), py::arg("out"),
        py::arg("coefficients"), py::arg("weights"), py::arg("grid"), py::arg("degree"), py::arg("basis"),
        py::arg("warp"), py::arg("seed") = 0, "Its gradients as the CUDA kernels compute them, run on the host.");
  m.def("log_positive", &log_positive_of, py::arg("values"), "The vectorised logarithm of normal positive float32.");
}

}  // namespace medadv
