// Definitions: energies, Jacobians and blur of dense fields.
#include "core/dense_energy.h"
#include "core/gaussian_blur.h"
#include "core/jacobian.h"
#include "python/arrays.h"
#include "python/definitions.h"

namespace medadv {
namespace {

Array gaussian_blur(const Array& image, double sigma, int axis, int padding, double truncate, bool adjoint) {
  const Volume size = volume_of(shape_of(image));
  Array out(shape_of(image));
  for_each(size, BlurVoxel<double, double, double>{gaussian_kernel<double>(sigma, truncate), BlurPadding(padding),
                                                   adjoint, axis + 3 - int(image.ndim()), size, image.data(),
                                                   out.mutable_data()});
  return out;
}

template <DenseEnergy kKind>
std::pair<double, Array> dense_energy(const Array& field, const std::vector<double>& voxel_size) {
  const Volume size = volume_of(shape_of(field));
  Array gradient(shape_of(field));
  const DenseStencil<double, double, kKind> stencil{
      size, dense_weights<double>(kKind, padded_sizes(voxel_size).data()), field.data()};
  const double scale = 1;
  for_each(size, DenseGradientVoxel<double, double, kKind>{stencil, &scale, gradient.mutable_data()});
  const DenseEnergyVoxel<double, double, kKind> voxel{stencil};
  double sum = 0;
  for_each(size, [&](int64_t n, int32_t z, int32_t y, int32_t x) { sum += voxel(n, z, y, x); });
  return {sum, gradient};
}

std::pair<double, Array> dense_energy(DenseEnergy kind, const Array& field, const std::vector<double>& voxel_size) {
  switch (kind) {
    case DenseEnergy::membrane: return dense_energy<DenseEnergy::membrane>(field, voxel_size);
    case DenseEnergy::total_variation: return dense_energy<DenseEnergy::total_variation>(field, voxel_size);
    default: return dense_energy<DenseEnergy::bending>(field, voxel_size);
  }
}

// Calls f with the stencil of a displacement [D, *S].
template <typename F>
auto with_jacobian(const Array& displacement, const std::vector<double>& voxel_size, F f) {
  const auto shape = shape_of(displacement);
  const Volume size = volume_of({shape.begin() + 1, shape.end()});
  const std::vector<double> h = padded_sizes(voxel_size);
  if (shape.size() == 3)
    return f(JacobianStencil<double, double, 2>{size, {1, 1 / h[1], 1 / h[2]}, displacement.data()});
  return f(JacobianStencil<double, double, 3>{size, {1 / h[0], 1 / h[1], 1 / h[2]}, displacement.data()});
}

Array jacobian_determinant(const Array& displacement, const std::vector<double>& voxel_size) {
  std::vector<int64_t> cells;
  for (py::ssize_t d = 1; d < displacement.ndim(); ++d) cells.push_back(displacement.shape(d) - 1);
  Array out(cells);
  with_jacobian(displacement, voxel_size, [&]<int kAxes>(const JacobianStencil<double, double, kAxes>& stencil) {
    for_each(stencil.cells(), DeterminantCell<double, double, kAxes>{stencil, out.mutable_data()});
  });
  return out;
}

Array jacobian_determinant_backward(const Array& grad, const Array& displacement,
                                    const std::vector<double>& voxel_size) {
  Array out(shape_of(displacement));
  with_jacobian(displacement, voxel_size, [&]<int kAxes>(const JacobianStencil<double, double, kAxes>& stencil) {
    using Force = GivenForce<double>;
    for_each(stencil.size,
             JacobianGradientVoxel<double, double, kAxes, Force>{stencil, Force{grad.data()}, out.mutable_data()});
  });
  return out;
}

std::pair<double, Array> folding_penalty(const Array& displacement, const std::vector<double>& voxel_size,
                                         double threshold) {
  Array gradient(shape_of(displacement));
  double sum = 0;
  with_jacobian(displacement, voxel_size, [&]<int kAxes>(const JacobianStencil<double, double, kAxes>& stencil) {
    const double weight = 1.0 / double(stencil.cells().voxels()), scale = 1;
    const FoldingCell<double, double, kAxes> cell{stencil, threshold};
    for_each(stencil.cells(), [&](int64_t n, int32_t z, int32_t y, int32_t x) { sum += weight * cell(n, z, y, x); });
    for_each(stencil.size, JacobianGradientVoxel<double, double, kAxes, FoldingForce>{
                               stencil, {threshold, weight, &scale}, gradient.mutable_data()});
  });
  return {sum, gradient};
}

}  // namespace

void define_dense_fields(py::module_& m) {
  const auto dense = [](DenseEnergy energy) {
    return [energy](const Array& field, const std::vector<double>& voxel_size) {
      return dense_energy(energy, field, voxel_size);
    };
  };
  m.def("dense_bending_energy", dense(DenseEnergy::bending), py::arg("field"), py::arg("voxel_size"),
        "Bending energy of a dense field of one channel, and its gradient.");
  m.def("dense_membrane_energy", dense(DenseEnergy::membrane), py::arg("field"), py::arg("voxel_size"),
        "Membrane energy of a dense field of one channel, and its gradient.");
  m.def("dense_total_variation", dense(DenseEnergy::total_variation), py::arg("field"), py::arg("voxel_size"),
        "Total variation of a dense field of one channel, and its gradient.");
  m.def("gaussian_blur", &gaussian_blur, py::arg("image"), py::arg("sigma"), py::arg("axis"), py::arg("padding"),
        py::arg("truncate"), py::arg("adjoint") = false,
        "One channel blurred along one axis; padding is 0 (reflect), 1 (border) or 2 (zeros).");
  m.def("jacobian_determinant", &jacobian_determinant, py::arg("displacement"), py::arg("voxel_size"),
        "Jacobian determinant of a displacement [D, *S] in every cell.");
  m.def("jacobian_determinant_backward", &jacobian_determinant_backward, py::arg("grad"), py::arg("displacement"),
        py::arg("voxel_size"), "Its gradient to the displacement.");
  m.def("folding_penalty", &folding_penalty, py::arg("displacement"), py::arg("voxel_size"), py::arg("threshold"),
        "Penalty on folding of a displacement [D, *S], and its gradient.");
}

}  // namespace medadv
