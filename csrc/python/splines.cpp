// Definitions: B-spline fields, bias fields and the energies of lattices.
#include "core/bias_field.h"
#include "core/lattice_energy.h"
#include "python/arrays.h"
#include "python/definitions.h"

namespace medadv {
namespace {

template <typename Voxel>
SplineField<double, double, Voxel> at_voxels(const Lattice& g, const Array& lattice, const Voxel& voxel) {
  return {g, {1, 1}, lattice.data(), voxel};
}

Array field_of(const Lattice& g, const Array& lattice, const std::vector<int64_t>& size) {
  Array out(size);
  for_each(g.z, g.y, g.x, &Axis::size, at_voxels(g, lattice, FieldVoxel<double, double>{out.mutable_data()}));
  return out;
}

Array adjoint_of(const Lattice& g, const Array& grad, const std::vector<int64_t>& knots) {
  Array out(knots);
  using Force = FieldForce<double, double>;
  for_each(g.z, g.y, g.x, &Axis::knots,
           SplineAdjoint<double, double, Force>{g, {1, 1}, Force{grad.data()}, out.mutable_data()});
  return out;
}

Array spline_field(const Array& lattice, const std::vector<int64_t>& size) {
  return field_of(lattice_over(size, shape_of(lattice)), lattice, size);
}

Array spline_field_adjoint(const Array& grad, const std::vector<int64_t>& knots) {
  return adjoint_of(lattice_over(shape_of(grad), knots), grad, knots);
}

Array spline_derivative(const Array& lattice, const std::vector<int64_t>& size, const std::vector<int32_t>& derivative,
                        const std::vector<double>& voxel_size) {
  return field_of(differentiated(lattice_over(size, shape_of(lattice)), derivative, voxel_size), lattice, size);
}

Array spline_derivative_adjoint(const Array& grad, const std::vector<int64_t>& knots,
                                const std::vector<int32_t>& derivative, const std::vector<double>& voxel_size) {
  return adjoint_of(differentiated(lattice_over(shape_of(grad), knots), derivative, voxel_size), grad, knots);
}

Array bias_field(const Array& image, const Array& lattice) {
  const Lattice g = lattice_over(shape_of(image), shape_of(lattice));
  Array out(shape_of(image));
  for_each(g.z, g.y, g.x, &Axis::size,
           at_voxels(g, lattice, BiasVoxel<double, double>{image.data(), out.mutable_data()}));
  return out;
}

Array lattice_gradient(LatticeEnergy energy, const Array& lattice, std::vector<double> spacing) {
  const Lattice g = lattice_over(std::vector<int64_t>(spacing.size(), 1), shape_of(lattice));
  spacing.insert(spacing.begin(), 3 - spacing.size(), 1.0);
  const LatticeGradient<double> entry{
      energy, cell_integrals(), g, {spacing[0], spacing[1], spacing[2]}, lattice.data()};
  Array out(shape_of(lattice));
  double* next = out.mutable_data();
  for_each(g.z, g.y, g.x, &Axis::knots, [&](int64_t n, int z, int y, int x) { *next++ = entry(n, z, y, x); });
  return out;
}

}  // namespace

void define_splines(py::module_& m) {
  m.def("spline_field", &spline_field, py::arg("lattice"), py::arg("size"), "B-spline field of one channel.");
  m.def("spline_field_adjoint", &spline_field_adjoint, py::arg("grad"), py::arg("knots"),
        "Gradient of a scalar to the lattice, from its gradient to the field.");
  m.def("spline_derivative", &spline_derivative, py::arg("lattice"), py::arg("size"), py::arg("derivative"),
        py::arg("voxel_size"), "Derivative of the B-spline field of one channel.");
  m.def("spline_derivative_adjoint", &spline_derivative_adjoint, py::arg("grad"), py::arg("knots"),
        py::arg("derivative"), py::arg("voxel_size"), "Gradient to the lattice, from that to the derivative.");
  m.def("bias_field", &bias_field, py::arg("image"), py::arg("lattice"), "image * exp(B-spline) of one channel.");
  const auto gradient_of = [](LatticeEnergy energy) {
    return [energy](const Array& lattice, const std::vector<double>& spacing) {
      return lattice_gradient(energy, lattice, spacing);
    };
  };
  m.def("bending_gradient", gradient_of(LatticeEnergy::bending), py::arg("lattice"), py::arg("spacing"),
        "Gradient of the bending energy of one channel; spacing is the length of a cell along every axis.");
  m.def("membrane_gradient", gradient_of(LatticeEnergy::membrane), py::arg("lattice"), py::arg("spacing"),
        "Gradient of the membrane energy of one channel.");
}

}  // namespace medadv
