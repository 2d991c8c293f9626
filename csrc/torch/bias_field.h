// bias_field and its gradients over tensors, written once for every backend.
#pragma once

#include <tuple>

#include "torch/common.h"

namespace medadv {

struct BiasFieldShapes {
  Lattice lattice;
  Channels channels;
};

// [N, 1 or C, *G] for images [N, C, *S]; name: the argument's.
inline Lattice check_gain_lattice(const char* op, const Tensor& lattice, const Tensor& image,
                                  const char* name = "lattice") {
  std::vector<int64_t> size = shape(image);
  size.erase(size.begin(), size.begin() + 2);
  const Lattice g = lattice_over(op, lattice, size, name);
  check_like(op, name, lattice, "image", image);
  check(lattice.size(0) == image.size(0), op, ": ", name, " must have one entry per image, ", image.size(0), ", got ",
        lattice.size(0));
  check(lattice.size(1) == 1 || lattice.size(1) == image.size(1), op, ": ", name,
        " must have 1 channel or the image's ", image.size(1), ", got ", lattice.size(1));
  check_planes(op, g, image.size(0) * image.size(1));
  return g;
}

inline BiasFieldShapes check_bias_field(const char* op, const Tensor& image, const Tensor& lattice) {
  check(image.dim() == 4 || image.dim() == 5, op, ": image must be [N, C, H, W] or [N, C, D, H, W], got ",
        text(image.sizes()));
  check_floating(op, "image", image);
  const Lattice g = check_gain_lattice(op, lattice, image);
  const int64_t per_knot = lattice.size(1) == 1 ? image.size(1) : 1;
  return {g, {image.size(0) * image.size(1), per_knot}};
}

template <typename Backend>
Tensor bias_field(const Tensor& image, const Tensor& lattice) {
  const auto [g, channels] = check_bias_field("bias_field", image, lattice);
  const typename Backend::Scope scope(image);
  const Tensor x = make_contiguous(image), c = make_contiguous(lattice);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_floating("bias_field", "image", x.scalar_type(), [&, g = g, channels = channels]<typename S>() {
    Backend::template bias_field<Arithmetic<S>, S>(scope, g, channels, x.const_data_ptr<S>(), c.const_data_ptr<S>(),
                                                   out.mutable_data_ptr<S>());
  });
  return out;
}

template <typename Backend>
std::tuple<Tensor, Tensor> bias_field_backward(const Tensor& grad, const Tensor& image, const Tensor& lattice) {
  constexpr const char* op = "bias_field_backward";
  const auto [g, channels] = check_bias_field(op, image, lattice);
  check_same_shape(op, "grad", grad, "image", image);
  const typename Backend::Scope scope(image);
  const Tensor d = make_contiguous(grad), x = make_contiguous(image),
               c = make_contiguous(lattice);
  Tensor grad_x = new_output(x, shape(x)), grad_c = new_sums(c, shape(c));
  if (empty(x)) return {grad_x, grad_c};
  dispatch_floating(op, "image", x.scalar_type(), [&, g = g, channels = channels]<typename S>() {
    Backend::template bias_field_backward<Arithmetic<S>, S>(
        scope, g, channels, d.const_data_ptr<S>(), x.const_data_ptr<S>(), c.const_data_ptr<S>(),
        grad_x.mutable_data_ptr<S>(), grad_c.mutable_data_ptr<S>());
  });
  return {grad_x, grad_c};
}

// out: what bias_field returned for this lattice; gives the gradient to the lattice.
template <typename Backend>
Tensor bias_field_lattice_backward(const Tensor& grad, const Tensor& out, const Tensor& lattice) {
  constexpr const char* op = "bias_field_lattice_backward";
  const auto [g, channels] = check_bias_field(op, out, lattice);
  check_same_shape(op, "grad", grad, "out", out);
  const typename Backend::Scope scope(out);
  const Tensor d = make_contiguous(grad), y = make_contiguous(out);
  Tensor grad_c = new_sums(lattice, shape(lattice));
  if (empty(y)) return grad_c;
  dispatch_floating(op, "out", y.scalar_type(), [&, g = g, channels = channels]<typename S>() {
    Backend::template bias_field_lattice_backward<Arithmetic<S>, S>(
        scope, g, channels, d.const_data_ptr<S>(), y.const_data_ptr<S>(), grad_c.mutable_data_ptr<S>());
  });
  return grad_c;
}

}  // namespace medadv
