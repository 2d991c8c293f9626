// spline_warp and its gradients over tensors, written once for every backend.
#pragma once

#include <tuple>

#include "torch/warp.h"

namespace medadv {

// [N, D, *G] for images [N, C, *S]; name: the argument's.
inline Lattice check_displacement_lattice(const char* op, const Tensor& lattice, const Sampling& s,
                                          const char* name = "lattice") {
  std::vector<int64_t> size{s.z, s.y, s.x};
  if (s.axes == 2) size.erase(size.begin());
  const Lattice g = lattice_over(op, lattice, size, name);
  check(lattice.size(0) == s.images, op, ": ", name, " must have one entry per image, ", s.images, ", got ",
        lattice.size(0));
  check(lattice.size(1) == s.axes, op, ": ", name, " must have one component per axis of the image, ", s.axes,
        ", got ", lattice.size(1));
  check_planes(op, g, s.images * s.axes);
  return g;
}

template <typename Backend>
Tensor spline_warp(const Tensor& image, const Tensor& lattice, int64_t interpolation, int64_t padding) {
  constexpr const char* op = "spline_warp";
  const Sampling s = check_sampling(op, "image", image, interpolation, padding);
  const bool labels = check_labels(op, image, "lattice", lattice, s);
  if (!labels) {
    check_floating(op, "image", image);
    check_like(op, "lattice", lattice, "image", image);
  }
  const Lattice g = check_displacement_lattice(op, lattice, s);
  const typename Backend::Scope scope(image);
  const Tensor x = torch::stable::contiguous(image), c = torch::stable::contiguous(lattice);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_image(op, x, labels, [&]<typename T, typename D, typename S>() {
    Backend::template spline_warp<T, D, S>(scope, s, g, pointer<S>(x), pointer<D>(c), mutable_pointer<S>(out));
  });
  return out;
}

// Gradients to image and lattice, each where wanted; to the image, `image` itself is not needed.
template <typename Backend>
void spline_warp_gradients(const char* op, const Tensor& grad, const Tensor* image, const Tensor& lattice,
                           const Sampling& s, Tensor* grad_image, Tensor* grad_lattice) {
  check_floating(op, "grad", grad);
  if (image) check_same_shape(op, "image", *image, "grad", grad);
  check_like(op, "lattice", lattice, "grad", grad);
  const Lattice lattice_of_image = check_displacement_lattice(op, lattice, s);
  const typename Backend::Scope scope(grad);
  const Tensor g = torch::stable::contiguous(grad), c = torch::stable::contiguous(lattice);
  const Tensor x = image ? torch::stable::contiguous(*image) : g;
  if (grad_image) *grad_image = new_sums(g, shape(g));
  if (grad_lattice) *grad_lattice = new_sums(c, shape(c));
  if (s.interpolation == Interpolation::nearest) grad_lattice = nullptr;  // it is piecewise constant
  if (empty(g) || !(grad_image || grad_lattice)) return;
  dispatch_floating(op, "grad", g.scalar_type(), [&]<typename S>() {
    Backend::template spline_warp_backward<Arithmetic<S>, S>(
        scope, s, lattice_of_image, pointer<S>(g), pointer<S>(x), pointer<S>(c),
        grad_image ? mutable_pointer<S>(*grad_image) : nullptr,
        grad_lattice ? mutable_pointer<S>(*grad_lattice) : nullptr);
  });
}

template <typename Backend>
std::tuple<Tensor, Tensor> spline_warp_backward(const Tensor& grad, const Tensor& image, const Tensor& lattice,
                                                int64_t interpolation, int64_t padding) {
  constexpr const char* op = "spline_warp_backward";
  const Sampling s = check_sampling(op, "grad", grad, interpolation, padding);
  Tensor grad_image, grad_lattice;
  spline_warp_gradients<Backend>(op, grad, &image, lattice, s, &grad_image, &grad_lattice);
  return {grad_image, grad_lattice};
}

template <typename Backend>
Tensor spline_warp_lattice_backward(const Tensor& grad, const Tensor& image, const Tensor& lattice,
                                    int64_t interpolation, int64_t padding) {
  constexpr const char* op = "spline_warp_lattice_backward";
  const Sampling s = check_sampling(op, "grad", grad, interpolation, padding);
  Tensor grad_lattice;
  spline_warp_gradients<Backend>(op, grad, &image, lattice, s, nullptr, &grad_lattice);
  return grad_lattice;
}

// The adjoint of warping, a linear map of the image: its gradient.
template <typename Backend>
Tensor spline_warp_adjoint(const Tensor& grad, const Tensor& lattice, int64_t interpolation, int64_t padding) {
  constexpr const char* op = "spline_warp_adjoint";
  const Sampling s = check_sampling(op, "grad", grad, interpolation, padding);
  Tensor grad_image;
  spline_warp_gradients<Backend>(op, grad, nullptr, lattice, s, &grad_image, nullptr);
  return grad_image;
}

}  // namespace medadv
