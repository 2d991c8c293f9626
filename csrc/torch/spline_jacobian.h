// jacobian_determinant and folding_penalty of a lattice, and their gradients, over tensors; written once for every
// backend.
#pragma once

#include <tuple>

#include "core/spline_jacobian.h"
#include "torch/jacobian.h"
#include "torch/spline_field.h"

namespace medadv {

struct DisplacementLattice {
  static constexpr const char* name = "displacement";  // as callers know it
  Lattice g;
  std::vector<double> h;              // lengths of a voxel along depth, height, width
  std::vector<int64_t> determinants;  // shape of their tensor, [N, *S]
};

inline DisplacementLattice check_displacement_lattice(const char* op, const Tensor& lattice,
                                                      const std::vector<int64_t>& size,
                                                      std::vector<double> voxel_size) {
  const Lattice g = check_spline_field(op, lattice, size, DisplacementLattice::name);
  const int64_t axes = int64_t(size.size());
  check(lattice.size(1) == axes, op, ": ", DisplacementLattice::name,
        " must have one component per axis of the image, ", axes, ", got ", lattice.size(1));
  for (const int64_t n : size) check(n >= 2, op, ": size must be at least 2 along every axis, got ", text(size));
  std::vector<int64_t> determinants{lattice.size(0)};
  determinants.insert(determinants.end(), size.begin(), size.end());
  return {g, voxel_lengths(op, std::move(voxel_size), axes), determinants};
}

// Calls f with the slopes along two or three axes.
template <typename T, typename F>
void with_slopes(const char* op, const DisplacementLattice& d, const F& f) {
  const auto with = [&](const auto& slopes) {
    for (const Lattice& along : slopes.along) check_factors<T>(op, {along.z.scale, along.y.scale, along.x.scale});
    f(slopes);
  };
  if (d.determinants.size() == 3)
    with(SplineSlopes<2>(d.g, d.h.data()));
  else
    with(SplineSlopes<3>(d.g, d.h.data()));
}

template <typename Backend>
Tensor spline_jacobian_determinant(const Tensor& lattice, std::vector<int64_t> size, std::vector<double> voxel_size) {
  constexpr const char* op = "jacobian_determinant";
  const DisplacementLattice d = check_displacement_lattice(op, lattice, size, std::move(voxel_size));
  const typename Backend::Scope scope(lattice);
  const Tensor c = make_contiguous(lattice);
  Tensor out = new_output(c, d.determinants);
  if (empty(out)) return out;
  dispatch_floating(op, DisplacementLattice::name, c.scalar_type(), [&]<typename S>() {
    with_slopes<Arithmetic<S>>(op, d, [&](const auto& slopes) {
      Backend::template spline_jacobian_determinant<Arithmetic<S>, S>(
          scope, slopes, c.size(0), c.const_data_ptr<S>(), out.mutable_data_ptr<S>());
    });
  });
  return out;
}

// grad: [N, *S], to the determinants.
template <typename Backend>
Tensor spline_jacobian_determinant_backward(const Tensor& grad, const Tensor& lattice, std::vector<double> voxel_size) {
  constexpr const char* op = "jacobian_determinant_backward";
  check(grad.dim() == lattice.dim() - 1 && grad.size(0) == lattice.size(0), op, ": grad must be [N, *S], got ",
        text(grad.sizes()));
  check_like(op, "grad", grad, DisplacementLattice::name, lattice);
  std::vector<int64_t> size = shape(grad);
  size.erase(size.begin());
  const DisplacementLattice d = check_displacement_lattice(op, lattice, size, std::move(voxel_size));
  const typename Backend::Scope scope(lattice);
  const Tensor c = make_contiguous(lattice), r = make_contiguous(grad);
  Tensor gradient = make_empty(c, shape(c));
  if (empty(c)) return gradient;
  dispatch_floating(op, DisplacementLattice::name, c.scalar_type(), [&]<typename S>() {
    with_slopes<Arithmetic<S>>(op, d, [&](const auto& slopes) {
      Backend::template spline_jacobian_gradient<Arithmetic<S>, S>(
          scope, slopes, c.size(0), r.const_data_ptr<S>(), c.const_data_ptr<S>(), gradient.mutable_data_ptr<S>());
    });
  });
  return gradient;
}

// The penalty [N] and, where `gradient` is given, its gradient in the arithmetic type.
template <typename Backend>
Tensor folding_of_lattice(const Tensor& lattice, const std::vector<int64_t>& size, std::vector<double> voxel_size,
                          double threshold, Tensor* gradient) {
  constexpr const char* op = "folding_penalty";
  const DisplacementLattice d = check_displacement_lattice(op, lattice, size, std::move(voxel_size));
  check_threshold(op, threshold);
  const typename Backend::Scope scope(lattice);
  const Tensor c = make_contiguous(lattice);
  Tensor penalty = make_empty(c, {c.size(0)}, ScalarType::Double);
  const bool wide = c.scalar_type() == ScalarType::Double;
  if (gradient) *gradient = make_empty(c, shape(c), wide ? ScalarType::Double : ScalarType::Float);
  if (empty(c)) return penalty;
  dispatch_floating(op, DisplacementLattice::name, c.scalar_type(), [&]<typename S>() {
    using T = Arithmetic<S>;
    with_slopes<T>(op, d, [&](const auto& slopes) {
      Backend::template spline_folding_penalty<T, S>(scope, slopes, c.size(0), threshold, c.const_data_ptr<S>(),
                                                     penalty.mutable_data_ptr<double>(),
                                                     gradient ? gradient->mutable_data_ptr<T>() : nullptr);
    });
  });
  return penalty;
}

template <typename Backend>
Tensor spline_folding_penalty(const Tensor& lattice, std::vector<int64_t> size, std::vector<double> voxel_size,
                              double threshold) {
  return folding_of_lattice<Backend>(lattice, size, std::move(voxel_size), threshold, nullptr);
}

template <typename Backend>
std::tuple<Tensor, Tensor> spline_folding_penalty_gradient(const Tensor& lattice, std::vector<int64_t> size,
                                                           std::vector<double> voxel_size, double threshold) {
  Tensor gradient;
  Tensor penalty = folding_of_lattice<Backend>(lattice, size, std::move(voxel_size), threshold, &gradient);
  return {penalty, gradient};
}

}  // namespace medadv
