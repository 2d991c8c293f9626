// spline_field and its adjoint over tensors, written once for every backend.
//
// A Backend supplies the kernels over plain pointers, and a Scope that makes a tensor's device (and
// stream) current for the length of one call.
#pragma once

#include "torch/common.h"

namespace medadv {

inline Lattice check_spline_field(const char* op, const Tensor& lattice, const std::vector<int64_t>& size) {
  check(size.size() == 2 || size.size() == 3, op, ": size must be [H, W] or [D, H, W], got ", text(size));
  for (const int64_t n : size) check(n >= 0, op, ": size must not be negative, got ", text(size));
  check_floating(op, "lattice", lattice);
  const Lattice g = lattice_over(op, lattice, size);
  check_planes(op, g, lattice.size(0) * lattice.size(1));
  return g;
}

template <typename Backend>
Tensor spline_field(const Tensor& lattice, std::vector<int64_t> size) {
  const Lattice g = check_spline_field("spline_field", lattice, size);
  const typename Backend::Scope scope(lattice);
  const Tensor c = torch::stable::contiguous(lattice);
  std::vector<int64_t> out_shape{c.size(0), c.size(1)};
  out_shape.insert(out_shape.end(), size.begin(), size.end());
  Tensor out = new_output(c, out_shape);
  if (empty(out)) return out;
  dispatch_floating("spline_field", "lattice", c.scalar_type(), [&]<typename S>() {
    Backend::template spline_field<Arithmetic<S>, S>(scope, g, c.size(0) * c.size(1), c.const_data_ptr<S>(),
                                                     out.mutable_data_ptr<S>());
  });
  return out;
}

// grad: [N, K, *S]; knots: control points per axis.
template <typename Backend>
Tensor spline_field_adjoint(const Tensor& grad, std::vector<int64_t> knots) {
  constexpr const char* op = "spline_field_adjoint";
  check(grad.dim() == 4 || grad.dim() == 5, op, ": grad must be [N, K, H, W] or [N, K, D, H, W], got ",
        text(shape(grad)));
  check_floating(op, "grad", grad);
  std::vector<int64_t> size = shape(grad), lattice_shape{grad.size(0), grad.size(1)};
  size.erase(size.begin(), size.begin() + 2);
  lattice_shape.insert(lattice_shape.end(), knots.begin(), knots.end());
  const typename Backend::Scope scope(grad);
  const Tensor d = torch::stable::contiguous(grad);
  Tensor grad_c = new_sums(d, lattice_shape);
  const Lattice g = lattice_over(op, grad_c, size);
  check_planes(op, g, grad.size(0) * grad.size(1));
  if (empty(d) || empty(grad_c)) return grad_c;
  dispatch_floating(op, "grad", d.scalar_type(), [&]<typename S>() {
    Backend::template spline_field_adjoint<Arithmetic<S>, S>(scope, g, d.size(0) * d.size(1), d.const_data_ptr<S>(),
                                                             grad_c.mutable_data_ptr<S>());
  });
  return grad_c;
}

}  // namespace medadv
