// Definitions: Jacobians of the displacement of a B-spline lattice.
#include "core/spline_jacobian.h"
#include "python/arrays.h"
#include "python/definitions.h"

namespace medadv {
namespace {

// Calls f with the slopes of a lattice [D, *G].
template <typename F>
void with_slopes(const Array& lattice, const std::vector<int64_t>& size, const std::vector<double>& voxel_size, F f) {
  const auto shape = shape_of(lattice);
  const Lattice g = lattice_over(size, {shape.begin() + 1, shape.end()});
  const std::vector<double> h = padded_sizes(voxel_size);
  if (size.size() == 2) return f(SplineSlopes<2>(g, h.data()));
  return f(SplineSlopes<3>(g, h.data()));
}

// Calls f(voxel, deformation) for every voxel.
template <int kAxes, typename F>
void at_voxels(const SplineSlopes<kAxes>& slopes, const Array& lattice, F f) {
  const Lattice& g = slopes.along[0];
  int64_t voxel = 0;
  for_each(g.z, g.y, g.x, &Axis::size, [&](int64_t, int32_t z, int32_t y, int32_t x) {
    f(voxel++, slopes.template at<double>(lattice.data(), z, y, x));
  });
}

Array spline_jacobian_determinant(const Array& lattice, const std::vector<int64_t>& size,
                                  const std::vector<double>& voxel_size) {
  Array out(size);
  with_slopes(lattice, size, voxel_size, [&](const auto& slopes) {
    at_voxels(slopes, lattice, [&](int64_t voxel, const auto& d) { out.mutable_data()[voxel] = d.determinant(); });
  });
  return out;
}

// The gradient to the lattice, from the force on every determinant.
template <int kAxes, typename Force>
Array gradient_to_lattice(const SplineSlopes<kAxes>& slopes, const Array& lattice, const Force& force) {
  Array gradient(shape_of(lattice));
  std::fill_n(gradient.mutable_data(), gradient.size(), 0.0);
  std::vector<double> forces(size_t(slopes.voxels())), part(size_t(slopes.knots()));
  for (int k = 0; k < kAxes; ++k)
    for (int a = 0; a < kAxes; ++a) {
      at_voxels(slopes, lattice, [&](int64_t voxel, const Deformation<double, kAxes>& d) {
        forces[size_t(voxel)] = force(voxel, d.determinant()) * d.cofactor(k, a);
      });
      const Lattice& g = slopes.along[a];
      using FieldForce = FieldForce<double, double>;
      for_each(g.z, g.y, g.x, &Axis::knots,
               SplineAdjoint<double, double, FieldForce>{g, {1, 1}, FieldForce{forces.data()}, part.data()});
      for (int64_t i = 0; i < slopes.knots(); ++i) gradient.mutable_data()[k * slopes.knots() + i] += part[size_t(i)];
    }
  return gradient;
}

Array spline_jacobian_determinant_backward(const Array& grad, const Array& lattice,
                                           const std::vector<double>& voxel_size) {
  Array gradient;
  with_slopes(lattice, shape_of(grad), voxel_size, [&](const auto& slopes) {
    gradient = gradient_to_lattice(slopes, lattice, [&](int64_t voxel, double) { return grad.data()[voxel]; });
  });
  return gradient;
}

std::pair<double, Array> spline_folding_penalty(const Array& lattice, const std::vector<int64_t>& size,
                                                const std::vector<double>& voxel_size, double threshold) {
  double sum = 0;
  Array gradient;
  with_slopes(lattice, size, voxel_size, [&](const auto& slopes) {
    const double weight = 1.0 / double(slopes.voxels());
    at_voxels(slopes, lattice, [&](int64_t, const auto& d) {
      const double s = shortfall(threshold, d.determinant());
      sum += weight * s * s;
    });
    gradient = gradient_to_lattice(
        slopes, lattice, [&](int64_t, double det) { return -2 * weight * shortfall(threshold, det); });
  });
  return {sum, gradient};
}

}  // namespace

void define_spline_jacobians(py::module_& m) {
  m.def("spline_jacobian_determinant", &spline_jacobian_determinant, py::arg("lattice"), py::arg("size"),
        py::arg("voxel_size"), "Jacobian determinant of a displacement lattice [D, *G] at every voxel.");
  m.def("spline_jacobian_determinant_backward", &spline_jacobian_determinant_backward, py::arg("grad"),
        py::arg("lattice"), py::arg("voxel_size"), "Its gradient to the lattice.");
  m.def("spline_folding_penalty", &spline_folding_penalty, py::arg("lattice"), py::arg("size"), py::arg("voxel_size"),
        py::arg("threshold"), "Penalty on folding of a displacement lattice [D, *G], and its gradient.");
}

}  // namespace medadv
