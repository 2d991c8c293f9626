// The torch-free core as a Python module: what this build is, and the voxel-by-voxel definitions over NumPy
// arrays, against which every faster path is tested.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "core/bending_energy.h"
#include "core/bias_field.h"

#ifndef MEDADV_CUDA_ARCHITECTURES
#define MEDADV_CUDA_ARCHITECTURES ""
#endif

namespace py = pybind11;
using namespace medadv;

namespace {

using Array = py::array_t<double, py::array::c_style>;

// Axes of a lattice [Gy, Gx] or [Gz, Gy, Gx] over an image of that many axes.
Lattice lattice_over(const std::vector<int64_t>& size, const std::vector<int64_t>& knots) {
  if (size.size() != knots.size() || size.size() < 2 || size.size() > 3)
    throw py::value_error("image and lattice must both have 2 or 3 axes");
  Axis axes[3] = {{1, 1}, {1, 1}, {1, 1}};
  for (size_t d = 0; d < size.size(); ++d) {
    if (knots[d] < 4) throw py::value_error("lattice must have at least 4 control points along every axis");
    axes[3 - size.size() + d] = {int32_t(size[d]), int32_t(knots[d])};
  }
  return {axes[0], axes[1], axes[2]};
}

std::vector<int64_t> shape_of(const Array& a) { return {a.shape(), a.shape() + a.ndim()}; }

template <typename F>
void for_each(const Axis& z, const Axis& y, const Axis& x, int32_t Axis::*extent, F f) {
  for (int32_t k = 0; k < z.*extent; ++k)
    for (int32_t j = 0; j < y.*extent; ++j)
      for (int32_t i = 0; i < x.*extent; ++i) f(0, k, j, i);
}

Array spline_field(const Array& lattice, const std::vector<int64_t>& size) {
  const Lattice g = lattice_over(size, shape_of(lattice));
  Array out(size);
  for_each(g.z, g.y, g.x, &Axis::size, SplineField<double, double>{g, lattice.data(), out.mutable_data()});
  return out;
}

Array spline_field_adjoint(const Array& grad, const std::vector<int64_t>& knots) {
  const Lattice g = lattice_over(shape_of(grad), knots);
  Array out(knots);
  for_each(g.z, g.y, g.x, &Axis::knots, SplineFieldAdjoint<double, double>{g, grad.data(), out.mutable_data()});
  return out;
}

Array bias_field(const Array& image, const Array& lattice) {
  const Lattice g = lattice_over(shape_of(image), shape_of(lattice));
  Array out(shape_of(image));
  for_each(g.z, g.y, g.x, &Axis::size,
           BiasField<double, double>{g, {1, 1}, image.data(), lattice.data(), out.mutable_data()});
  return out;
}

Array bending_gradient(const Array& lattice, std::vector<double> spacing) {
  const Lattice g = lattice_over(std::vector<int64_t>(spacing.size(), 1), shape_of(lattice));
  spacing.insert(spacing.begin(), 3 - spacing.size(), 1.0);
  const BendingGradient<double> entry{cell_integrals(), g, {spacing[0], spacing[1], spacing[2]}, lattice.data()};
  Array out(shape_of(lattice));
  double* next = out.mutable_data();
  for_each(g.z, g.y, g.x, &Axis::knots, [&](int64_t n, int z, int y, int x) { *next++ = entry(n, z, y, x); });
  return out;
}

// The clone of the hot loops that the loader picks on this machine.
std::string instruction_set() {
#if MEDADV_CLONES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4 (AVX-512)";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3 (AVX2, FMA)";
#endif
  return "baseline";
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "What this build of medadv is, and its operators as plain loops over float64 NumPy arrays.";
  m.def("spline_field", &spline_field, py::arg("lattice"), py::arg("size"), "B-spline field of one channel.");
  m.def("spline_field_adjoint", &spline_field_adjoint, py::arg("grad"), py::arg("knots"),
        "Gradient of a scalar to the lattice, from its gradient to the field.");
  m.def("bias_field", &bias_field, py::arg("image"), py::arg("lattice"), "image * exp(B-spline) of one channel.");
  m.def("bending_gradient", &bending_gradient, py::arg("lattice"), py::arg("spacing"),
        "Gradient of the bending energy of one channel; spacing is the length of a cell along every axis.");
  m.def("instruction_set", &instruction_set, "Which clone of the CPU kernels runs on this machine.");
  m.attr("compiler") = MEDADV_COMPILER;
  m.attr("cuda_version") = MEDADV_CUDA_VERSION;
  m.attr("cuda_architectures") = MEDADV_CUDA_ARCHITECTURES;
}
