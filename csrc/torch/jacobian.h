// jacobian_determinant, folding_penalty and their gradients over tensors, written once for every backend.
#pragma once

#include <cmath>

#include "core/jacobian.h"
#include "torch/dense_energy.h"

namespace medadv {

struct Displacement {
  Volume size;
  std::vector<double> h;               // lengths of a voxel along depth, height, width
  std::vector<int64_t> determinants;   // shape of their tensor, [N, cells]
  bool empty = false;                  // nothing to compute: no cells
};

inline Displacement check_displacement(const char* op, const Tensor& displacement, std::vector<double> voxel_size) {
  const int64_t axes = displacement.dim() - 2;
  check((axes == 2 || axes == 3) && displacement.size(1) == axes, op,
        ": displacement must be [N, 2, H, W] or [N, 3, D, H, W], got ", text(displacement.sizes()));
  Displacement d{volume_of(op, "displacement", displacement), voxel_lengths(op, std::move(voxel_size), axes),
                 {displacement.size(0)}};
  for (int64_t a = 0; a < axes; ++a) d.determinants.push_back(std::max<int64_t>(0, displacement.size(a + 2) - 1));
  for (const int64_t n : d.determinants) d.empty = d.empty || n == 0;
  return d;
}

// Calls f with the stencil of two or three axes.
template <typename S, typename F>
void with_jacobian(const char* op, const Displacement& d, const Tensor& u, const F& f) {
  using T = Arithmetic<S>;
  check_factors<T>(op, {1 / d.h[0], 1 / d.h[1], 1 / d.h[2]});
  const T inverse[3] = {T(1 / d.h[0]), T(1 / d.h[1]), T(1 / d.h[2])};
  if (u.dim() == 4)
    f(JacobianStencil<T, S, 2>{d.size, {inverse[0], inverse[1], inverse[2]}, u.const_data_ptr<S>()});
  else
    f(JacobianStencil<T, S, 3>{d.size, {inverse[0], inverse[1], inverse[2]}, u.const_data_ptr<S>()});
}

template <typename Backend>
Tensor jacobian_determinant(const Tensor& displacement, std::vector<double> voxel_size) {
  constexpr const char* op = "jacobian_determinant";
  const Displacement d = check_displacement(op, displacement, std::move(voxel_size));
  const typename Backend::Scope scope(displacement);
  const Tensor u = make_contiguous(displacement);
  Tensor out = new_output(u, d.determinants);
  if (d.empty) return out;
  dispatch_floating(op, "displacement", u.scalar_type(), [&]<typename S>() {
    with_jacobian<S>(op, d, u, [&](const auto& stencil) {
      Backend::jacobian_determinant(scope, stencil, u.size(0), out.mutable_data_ptr<S>());
    });
  });
  return out;
}

// The gradient to the displacement, by way of the determinants.
template <typename Backend, typename MakeForce>
Tensor jacobian_gradient(const char* op, const Displacement& d, const Tensor& displacement, const MakeForce& force) {
  const typename Backend::Scope scope(displacement);
  const Tensor u = make_contiguous(displacement);
  if (d.empty) return new_sums(u, shape(u));
  Tensor gradient = new_output(u, shape(u));
  dispatch_floating(op, "displacement", u.scalar_type(), [&]<typename S>() {
    with_jacobian<S>(op, d, u, [&](const auto& stencil) {
      Backend::jacobian_gradient(scope, stencil, u.size(0), force.template operator()<S>(),
                                 gradient.mutable_data_ptr<S>());
    });
  });
  return gradient;
}

template <typename Backend>
Tensor jacobian_determinant_backward(const Tensor& grad, const Tensor& displacement, std::vector<double> voxel_size) {
  constexpr const char* op = "jacobian_determinant_backward";
  const Displacement d = check_displacement(op, displacement, std::move(voxel_size));
  check_like(op, "grad", grad, "displacement", displacement);
  check(shape(grad) == d.determinants, op, ": grad must be ", text(d.determinants), ", got ", text(grad.sizes()));
  const Tensor g = make_contiguous(grad);
  return jacobian_gradient<Backend>(op, d, displacement,
                                    [&]<typename S>() { return GivenForce<S>{g.const_data_ptr<S>()}; });
}

inline double mean_weight(const Displacement& d) {
  return 1.0 / (double(d.determinants[1]) * double(d.determinants[2]) *
                double(d.determinants.size() == 4 ? d.determinants[3] : 1));
}

inline void check_threshold(const char* op, double threshold) {
  check(std::isfinite(threshold), op, ": threshold must be finite, got ", threshold);
}

template <typename Backend>
Tensor folding_penalty(const Tensor& displacement, std::vector<double> voxel_size, double threshold) {
  constexpr const char* op = "folding_penalty";
  const Displacement d = check_displacement(op, displacement, std::move(voxel_size));
  check_threshold(op, threshold);
  const typename Backend::Scope scope(displacement);
  const Tensor u = make_contiguous(displacement);
  Tensor penalty = make_zeros(u, {u.size(0)}, ScalarType::Double);
  if (d.empty) return penalty;
  dispatch_floating(op, "displacement", u.scalar_type(), [&]<typename S>() {
    with_jacobian<S>(op, d, u, [&](const auto& stencil) {
      Backend::folding_penalty(scope, stencil, u.size(0), threshold, penalty.mutable_data_ptr<double>());
    });
  });
  return penalty;
}

template <typename Backend>
Tensor folding_penalty_backward(const Tensor& grad, const Tensor& displacement, std::vector<double> voxel_size,
                                double threshold) {
  constexpr const char* op = "folding_penalty_backward";
  const Displacement d = check_displacement(op, displacement, std::move(voxel_size));
  check_threshold(op, threshold);
  check_scale(op, grad, {displacement.size(0)}, "displacement", displacement);
  const Tensor scale = make_contiguous(grad);
  return jacobian_gradient<Backend>(op, d, displacement, [&]<typename S>() {
    return FoldingForce{threshold, mean_weight(d), scale.const_data_ptr<double>()};
  });
}

}  // namespace medadv
