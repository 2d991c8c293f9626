// polynomial_bias_field and its gradients over tensors, written once for every backend.
#pragma once

#include <tuple>

#include "core/polynomial_bias_field.h"
#include "torch/common.h"

namespace medadv {

// What an operator gets besides images and coefficients: the weights of the motion [N, axes, rows] (rows is 0 where
// there is none), the shape of its grid of control points, and words as numbers.
struct PolynomialSettings {
  const Tensor& weights;
  const std::vector<int64_t>& grid;
  int64_t degree, basis, warp;
};

inline ControlGrid check_control_grid(const char* op, const PolynomialSettings& s, const Volume& size, int64_t axes) {
  ControlGrid grid{1, 1, 1, int32_t(axes)};
  if (CoordinateWarp(s.warp) == CoordinateWarp::none) return grid;
  check(int64_t(s.grid.size()) == axes, op, ": control must have one grid axis per axis of the image, ", axes, ", got ",
        s.grid.size());
  const int64_t limit = std::numeric_limits<int32_t>::max();
  int32_t* points[3] = {&grid.z, &grid.y, &grid.x};
  const int32_t voxels[3] = {size.z, size.y, size.x};
  int64_t count = 1;
  for (int64_t d = 0; d < axes; ++d) {
    const int64_t n = s.grid[size_t(d)], voxels_along = voxels[d + 3 - axes];
    check(n >= 2, op, ": control must have at least 2 points along every axis, got ", text(s.grid));
    check(n <= limit / std::max<int64_t>(1, voxels_along) && count <= limit / n / 4, op,
          ": voxels times control points along one axis, and all control points, must stay below 2^31, got ",
          text(s.grid));
    count *= n;
    *points[d + 3 - axes] = int32_t(n);
  }
  return grid;
}

// Everything but the pointer to the weights, which is of the arithmetic type.
struct PolynomialCall {
  PolynomialShape shape;
  PolynomialBasis basis;
  Motion<float> motion;
  int64_t examples, channels, sets;

  template <typename T>
  PolynomialBias<T> with(const Tensor& weights) const {
    const Motion<T> moved{motion.warp, motion.size, motion.grid, weights.const_data_ptr<T>()};
    return {shape, Recurrence<T>(basis), moved, examples, channels, sets};
  }
};

inline PolynomialCall check_polynomial(const char* op, const char* name, const Tensor& image,
                                       const Tensor& coefficients, const PolynomialSettings& s) {
  const Volume size = volume_of(op, name, image);
  const int64_t axes = image.dim() - 2;
  check(s.degree >= 0 && s.degree <= kMaxDegree, op, ": degree must be from 0 to ", kMaxDegree, ", got ", s.degree);
  check(s.basis == 0 || s.basis == 1, op, ": basis must be 0 or 1, got ", s.basis);
  check(s.warp >= 0 && s.warp <= 2, op, ": warp must be 0, 1 or 2, got ", s.warp);
  const PolynomialShape polynomial{int32_t(s.degree), int32_t(axes)};
  check(coefficients.dim() == 3 && coefficients.size(2) == polynomial.terms(), op, ": coefficients must be [N, K, ",
        polynomial.terms(), "] for degree ", s.degree, " and ", axes, " axes, got ", text(coefficients.sizes()));
  check_like(op, "coefficients", coefficients, name, image);
  check(coefficients.size(0) == image.size(0), op, ": coefficients must have one entry per image, ", image.size(0),
        ", got ", coefficients.size(0));
  check(coefficients.size(1) == 1 || coefficients.size(1) == image.size(1), op,
        ": coefficients must have 1 channel or the image's ", image.size(1), ", got ", coefficients.size(1));
  const ControlGrid grid = check_control_grid(op, s, size, axes);
  const Motion<float> motion{CoordinateWarp(s.warp), size, grid, nullptr};
  const ScalarType arithmetic = image.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  check(s.weights.dim() == 3 && s.weights.size(0) == image.size(0) && s.weights.size(1) == axes &&
            s.weights.size(2) == motion.rows(),
        op, ": control must have one entry per image and one component per axis, ", image.size(0), " and ", axes,
        ", got ", text(s.weights.sizes()));
  check(s.weights.scalar_type() == arithmetic, op, ": weights must be ", torch::headeronly::toString(arithmetic),
        ", got ", torch::headeronly::toString(s.weights.scalar_type()));
  check(s.weights.device() == image.device(), op, ": control must be on the device of ", name);
  return {polynomial, PolynomialBasis(s.basis), motion, image.size(0), image.size(1), coefficients.size(1)};
}

template <typename Backend>
Tensor polynomial_bias_field(const Tensor& image, const Tensor& coefficients, const Tensor& weights,
                             std::vector<int64_t> grid, int64_t degree, int64_t basis, int64_t warp) {
  constexpr const char* op = "polynomial_bias_field";
  const PolynomialCall call = check_polynomial(op, "image", image, coefficients, {weights, grid, degree, basis, warp});
  const typename Backend::Scope scope(image);
  const Tensor x = make_contiguous(image), a = make_contiguous(coefficients),
               w = make_contiguous(weights);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_floating(op, "image", x.scalar_type(), [&]<typename S>() {
    Backend::polynomial_bias_field(scope, call.with<Arithmetic<S>>(w), x.const_data_ptr<S>(), a.const_data_ptr<S>(),
                                   out.mutable_data_ptr<S>());
  });
  return out;
}

// Gradients to the parameters, and to the image where grad_image is not null; else `image` is the output.
template <typename Backend>
std::tuple<Tensor, Tensor> polynomial_gradients(const char* op, const char* name, const Tensor& grad,
                                                const Tensor& image, const Tensor& coefficients,
                                                const PolynomialSettings& s, bool to_weights, Tensor* grad_image) {
  const PolynomialCall call = check_polynomial(op, name, image, coefficients, s);
  check_same_shape(op, "grad", grad, name, image);
  const typename Backend::Scope scope(image);
  const Tensor g = make_contiguous(grad), x = make_contiguous(image),
               a = make_contiguous(coefficients), w = make_contiguous(s.weights);
  if (grad_image) *grad_image = new_output(x, shape(x));
  Tensor grad_a = make_zeros(a, shape(a)), grad_w = make_zeros(w, shape(w));
  if (empty(x)) return {grad_a, grad_w};
  dispatch_floating(op, name, x.scalar_type(), [&]<typename S>() {
    using T = Arithmetic<S>;
    Backend::polynomial_bias_field_backward(scope, call.with<T>(w), g.const_data_ptr<S>(), x.const_data_ptr<S>(),
                                            a.const_data_ptr<S>(),
                                            grad_image ? grad_image->mutable_data_ptr<S>() : nullptr,
                                            grad_a.mutable_data_ptr<S>(),
                                            to_weights ? grad_w.mutable_data_ptr<T>() : nullptr);
  });
  return {grad_a, grad_w};
}

template <typename Backend>
std::tuple<Tensor, Tensor, Tensor> polynomial_bias_field_backward(const Tensor& grad, const Tensor& image,
                                                                  const Tensor& coefficients, const Tensor& weights,
                                                                  std::vector<int64_t> grid, int64_t degree,
                                                                  int64_t basis, int64_t warp, bool to_weights) {
  Tensor grad_image;
  const auto [grad_a, grad_w] =
      polynomial_gradients<Backend>("polynomial_bias_field_backward", "image", grad, image, coefficients,
                                    {weights, grid, degree, basis, warp}, to_weights, &grad_image);
  return {grad_image, grad_a, grad_w};
}

// out: what polynomial_bias_field returned for these parameters.
template <typename Backend>
std::tuple<Tensor, Tensor> polynomial_bias_field_parameters_backward(const Tensor& grad, const Tensor& out,
                                                                     const Tensor& coefficients, const Tensor& weights,
                                                                     std::vector<int64_t> grid, int64_t degree,
                                                                     int64_t basis, int64_t warp, bool to_weights) {
  return polynomial_gradients<Backend>("polynomial_bias_field_parameters_backward", "out", grad, out, coefficients,
                                       {weights, grid, degree, basis, warp}, to_weights, nullptr);
}

}  // namespace medadv
