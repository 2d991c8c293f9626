// The smoothness energies of a dense field over tensors, written once for every backend.
#pragma once

#include <cmath>
#include <initializer_list>

#include "core/dense_energy.h"
#include "torch/common.h"

namespace medadv {

// Lengths of a voxel along depth, height and width; 1 for a depth that is not there.
inline std::vector<double> voxel_lengths(const char* op, std::vector<double> voxel_size, int64_t axes) {
  check(int64_t(voxel_size.size()) == axes, op, ": voxel_size must have one length per axis, ", axes, ", got ",
        voxel_size.size());
  for (const double h : voxel_size)
    check(h > 0 && std::isfinite(h), op, ": voxel_size must be positive and finite, got ", text(voxel_size));
  voxel_size.insert(voxel_size.begin(), 3 - voxel_size.size(), 1.0);
  return voxel_size;
}

// Refuses voxel lengths of which the arithmetic in T makes an infinite factor: times a difference of 0, it is NaN.
template <typename T>
void check_factors(const char* op, std::initializer_list<double> factors) {
  for (const double factor : factors)
    check(std::isfinite(T(factor)), op, ": voxel_size must make the factors of derivatives finite in ",
          sizeof(T) == 8 ? "float64" : "float32", ", got a factor of ", factor);
}

template <typename T>
void check_weights(const char* op, DenseEnergy kind, const std::vector<double>& h) {
  const DenseWeights<double> w = dense_weights<double>(kind, h.data());
  check_factors<T>(op, {w.axis[0], w.axis[1], w.axis[2], w.zy, w.zx, w.yx});
}

// The gradient to an energy, which multiplies that of the energy.
inline void check_scale(const char* op, const Tensor& grad, const std::vector<int64_t>& expected,
                        const char* other_name, const Tensor& other) {
  check(grad.scalar_type() == ScalarType::Double, op, ": grad must be float64, got ",
        torch::headeronly::toString(grad.scalar_type()));
  check(grad.device() == other.device(), op, ": grad must be on the device of ", other_name);
  check(shape(grad) == expected, op, ": grad must be ", text(expected), ", got ", text(grad.sizes()));
}

// The energy [N, K].
template <typename Backend>
Tensor dense_energy(const char* op, DenseEnergy kind, const Tensor& field, std::vector<double> voxel_size) {
  const Volume size = volume_of(op, "field", field);
  const std::vector<double> h = voxel_lengths(op, std::move(voxel_size), field.dim() - 2);
  const typename Backend::Scope scope(field);
  const Tensor u = make_contiguous(field);
  Tensor energy = make_zeros(u, {u.size(0), u.size(1)}, ScalarType::Double);
  if (empty(u)) return energy;
  dispatch_floating(op, "field", u.scalar_type(), [&]<typename S>() {
    check_weights<Arithmetic<S>>(op, kind, h);
    Backend::template dense_energy<Arithmetic<S>, S>(scope, kind, size, u.size(0) * u.size(1), h.data(),
                                                     u.const_data_ptr<S>(), energy.mutable_data_ptr<double>());
  });
  return energy;
}

// The gradient to the field, from that to the energy [N, K].
template <typename Backend>
Tensor dense_energy_backward(const char* op, DenseEnergy kind, const Tensor& grad, const Tensor& field,
                             std::vector<double> voxel_size) {
  const Volume size = volume_of(op, "field", field);
  const std::vector<double> h = voxel_lengths(op, std::move(voxel_size), field.dim() - 2);
  check_scale(op, grad, {field.size(0), field.size(1)}, "field", field);
  const typename Backend::Scope scope(field);
  const Tensor u = make_contiguous(field), scale = make_contiguous(grad);
  Tensor gradient = new_output(u, shape(u));
  if (empty(u)) return gradient;
  dispatch_floating(op, "field", u.scalar_type(), [&]<typename S>() {
    Backend::template dense_energy_gradient<Arithmetic<S>, S>(
        scope, kind, size, u.size(0) * u.size(1), h.data(), scale.const_data_ptr<double>(), u.const_data_ptr<S>(),
        gradient.mutable_data_ptr<S>());
  });
  return gradient;
}

template <typename Backend>
Tensor dense_bending_energy(const Tensor& field, std::vector<double> voxel_size) {
  return dense_energy<Backend>("bending_energy", DenseEnergy::bending, field, std::move(voxel_size));
}
template <typename Backend>
Tensor dense_bending_energy_backward(const Tensor& grad, const Tensor& field, std::vector<double> voxel_size) {
  return dense_energy_backward<Backend>("bending_energy", DenseEnergy::bending, grad, field, std::move(voxel_size));
}

template <typename Backend>
Tensor dense_membrane_energy(const Tensor& field, std::vector<double> voxel_size) {
  return dense_energy<Backend>("membrane_energy", DenseEnergy::membrane, field, std::move(voxel_size));
}
template <typename Backend>
Tensor dense_membrane_energy_backward(const Tensor& grad, const Tensor& field, std::vector<double> voxel_size) {
  return dense_energy_backward<Backend>("membrane_energy", DenseEnergy::membrane, grad, field, std::move(voxel_size));
}

template <typename Backend>
Tensor dense_total_variation(const Tensor& field, std::vector<double> voxel_size) {
  return dense_energy<Backend>("total_variation", DenseEnergy::total_variation, field, std::move(voxel_size));
}
template <typename Backend>
Tensor dense_total_variation_backward(const Tensor& grad, const Tensor& field, std::vector<double> voxel_size) {
  return dense_energy_backward<Backend>("total_variation", DenseEnergy::total_variation, grad, field,
                                        std::move(voxel_size));
}

}  // namespace medadv
