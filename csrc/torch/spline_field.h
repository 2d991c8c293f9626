// spline_field, its derivatives and their adjoints over tensors, written once for every backend.
//
// A Backend supplies the kernels over plain pointers, and a Scope that makes a tensor's device (and
// stream) current for the length of one call.
#pragma once

#include "torch/dense_energy.h"

namespace medadv {

inline Lattice check_spline_field(const char* op, const Tensor& lattice, const std::vector<int64_t>& size,
                                  const char* name = "lattice") {
  check(size.size() == 2 || size.size() == 3, op, ": size must be [H, W] or [D, H, W], got ", text(size));
  for (const int64_t n : size) check(n >= 0, op, ": size must not be negative, got ", text(size));
  check_floating(op, name, lattice);
  const Lattice g = lattice_over(op, lattice, size, name);
  check_planes(op, g, lattice.size(0) * lattice.size(1));
  return g;
}

// The lattice of a derivative: its order along every axis of an image, per unit of length.
inline Lattice check_derivative(const char* op, const Lattice& g, const std::vector<int64_t>& size,
                                std::vector<int64_t> derivative, std::vector<double> voxel_size) {
  const std::vector<double> h = voxel_lengths(op, std::move(voxel_size), int64_t(size.size()));
  check(derivative.size() == size.size(), op, ": derivative must have one order per axis, ", size.size(), ", got ",
        text(derivative));
  int64_t total = 0;
  for (size_t d = 0; d < size.size(); ++d) {
    check(derivative[d] >= 0 && derivative[d] <= 2, op, ": derivative must be of order 0 to 2, got ", text(derivative));
    check(derivative[d] == 0 || size[d] >= 2, op,
          ": size must be at least 2 along an axis of the derivative, got ", text(size));
    total += derivative[d];
  }
  check(total <= 2, op, ": derivative must be of order 0 to 2 in all, got ", text(derivative));
  derivative.insert(derivative.begin(), 3 - derivative.size(), 0);
  const int32_t order[3] = {int32_t(derivative[0]), int32_t(derivative[1]), int32_t(derivative[2])};
  return g.differentiated(order, h.data());
}

template <typename Backend>
Tensor evaluate_lattice(const char* op, const Lattice& g, const Tensor& lattice, const std::vector<int64_t>& size) {
  const typename Backend::Scope scope(lattice);
  const Tensor c = make_contiguous(lattice);
  std::vector<int64_t> out_shape{c.size(0), c.size(1)};
  out_shape.insert(out_shape.end(), size.begin(), size.end());
  Tensor out = new_output(c, out_shape);
  if (empty(out)) return out;
  dispatch_floating(op, "lattice", c.scalar_type(), [&]<typename S>() {
    check_factors<Arithmetic<S>>(op, {g.z.scale, g.y.scale, g.x.scale, g.z.scale * g.y.scale * g.x.scale});
    Backend::template spline_field<Arithmetic<S>, S>(scope, g, c.size(0) * c.size(1), c.const_data_ptr<S>(),
                                                     out.mutable_data_ptr<S>());
  });
  return out;
}

template <typename Backend>
Tensor spline_field(const Tensor& lattice, std::vector<int64_t> size) {
  constexpr const char* op = "spline_field";
  return evaluate_lattice<Backend>(op, check_spline_field(op, lattice, size), lattice, size);
}

template <typename Backend>
Tensor spline_derivative(const Tensor& lattice, std::vector<int64_t> size, std::vector<int64_t> derivative,
                         std::vector<double> voxel_size) {
  constexpr const char* op = "spline_field";
  const Lattice g = check_spline_field(op, lattice, size);
  return evaluate_lattice<Backend>(op, check_derivative(op, g, size, std::move(derivative), std::move(voxel_size)),
                                   lattice, size);
}

// grad: [N, K, *S]; knots: control points per axis. differentiate(g, size) returns the lattice of the derivative.
template <typename Backend, typename Differentiate>
Tensor sum_forces(const char* op, const Tensor& grad, const std::vector<int64_t>& knots,
                  const Differentiate& differentiate) {
  check(grad.dim() == 4 || grad.dim() == 5, op, ": grad must be [N, K, H, W] or [N, K, D, H, W], got ",
        text(grad.sizes()));
  check_floating(op, "grad", grad);
  std::vector<int64_t> size = shape(grad), lattice_shape{grad.size(0), grad.size(1)};
  size.erase(size.begin(), size.begin() + 2);
  lattice_shape.insert(lattice_shape.end(), knots.begin(), knots.end());
  const typename Backend::Scope scope(grad);
  const Tensor d = make_contiguous(grad);
  Tensor grad_c = new_sums(d, lattice_shape);
  const Lattice g = differentiate(lattice_over(op, grad_c, size), size);
  check_planes(op, g, grad.size(0) * grad.size(1));
  if (empty(d) || empty(grad_c)) return grad_c;
  dispatch_floating(op, "grad", d.scalar_type(), [&]<typename S>() {
    Backend::template spline_field_adjoint<Arithmetic<S>, S>(scope, g, d.size(0) * d.size(1), d.const_data_ptr<S>(),
                                                             grad_c.mutable_data_ptr<S>());
  });
  return grad_c;
}

template <typename Backend>
Tensor spline_field_adjoint(const Tensor& grad, std::vector<int64_t> knots) {
  return sum_forces<Backend>("spline_field_adjoint", grad, knots,
                             [](const Lattice& g, const std::vector<int64_t>&) { return g; });
}

template <typename Backend>
Tensor spline_derivative_adjoint(const Tensor& grad, std::vector<int64_t> knots, std::vector<int64_t> derivative,
                                 std::vector<double> voxel_size) {
  constexpr const char* op = "spline_derivative_adjoint";
  return sum_forces<Backend>(op, grad, knots, [&](const Lattice& g, const std::vector<int64_t>& size) {
    return check_derivative(op, g, size, derivative, voxel_size);
  });
}

}  // namespace medadv
