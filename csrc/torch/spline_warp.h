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

struct LatticeMotion {
  static constexpr const char* name = "lattice";
  Lattice g;

  LatticeMotion(const char* op, const Tensor& lattice, const Sampling& s)
      : g(check_displacement_lattice(op, lattice, s)) {}

  template <typename Backend, typename T, typename D, typename S>
  void warp(const typename Backend::Scope& scope, const Sampling& s, const S* image, const D* lattice, S* out) const {
    Backend::template spline_warp<T, D, S>(scope, s, g, image, lattice, out);
  }
  template <typename Backend, typename S>
  void backward(const typename Backend::Scope& scope, const Sampling& s, const S* grad, const S* image,
                const S* lattice, S* grad_image, S* grad_lattice) const {
    Backend::template spline_warp_backward<Arithmetic<S>, S>(scope, s, g, grad, image, lattice, grad_image,
                                                             grad_lattice);
  }
};

template <typename Backend>
Tensor spline_warp(const Tensor& image, const Tensor& lattice, int64_t interpolation, int64_t padding) {
  return warp_by<Backend, LatticeMotion>("spline_warp", image, lattice, interpolation, padding);
}

template <typename Backend>
std::tuple<Tensor, Tensor> spline_warp_backward(const Tensor& grad, const Tensor& image, const Tensor& lattice,
                                                int64_t interpolation, int64_t padding) {
  return warp_gradients<Backend, LatticeMotion>("spline_warp_backward", grad, &image, lattice, interpolation, padding,
                                                Wanted::both);
}

template <typename Backend>
Tensor spline_warp_lattice_backward(const Tensor& grad, const Tensor& image, const Tensor& lattice,
                                    int64_t interpolation, int64_t padding) {
  return std::get<1>(warp_gradients<Backend, LatticeMotion>("spline_warp_lattice_backward", grad, &image, lattice,
                                                            interpolation, padding, Wanted::motion));
}

// The adjoint of warping, a linear map of the image: its gradient.
template <typename Backend>
Tensor spline_warp_adjoint(const Tensor& grad, const Tensor& lattice, int64_t interpolation, int64_t padding) {
  return std::get<0>(warp_gradients<Backend, LatticeMotion>("spline_warp_adjoint", grad, nullptr, lattice,
                                                            interpolation, padding, Wanted::image));
}

}  // namespace medadv
