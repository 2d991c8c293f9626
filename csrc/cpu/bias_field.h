// The bias field y = x exp(B(c)) on the CPU, and its gradients. The caller hands out ranges of blocks.
#pragma once

#include "cpu/spline_adjoint.h"

namespace medadv::cpu {

template <typename T, typename S>
class BiasField {
 public:
  BiasField(const Lattice& g, Channels channels, const S* image, const S* c, S* out)
      : s_(g), channels_(channels), image_(image), c_(c), out_(out) {}

  int64_t blocks() const { return s_.blocks(channels_.count); }
  void run(int64_t first, int64_t last) const;

 private:
  SplineRows<T> s_;
  Channels channels_;
  const S *image_, *c_;
  S* out_;
};

// Gradients to the image and to the lattice, in one pass over image and gradient.
template <typename T, typename S>
class BiasFieldBackward {
 public:
  BiasFieldBackward(const Lattice& g, Channels channels, const S* grad, const S* image, const S* c,
                    S* grad_image, S* grad_c)
      : s_(g), channels_(channels), adjoint_(s_, channels), grad_(grad), image_(image), c_(c),
        grad_image_(grad_image), grad_c_(grad_c) {}

  int64_t blocks() const { return s_.blocks(channels_.count); }
  void run(int64_t first, int64_t last);
  int64_t planes() const { return adjoint_.planes(); }
  void gather(int64_t first, int64_t last) const { adjoint_.gather(first, last, grad_c_); }

 private:
  SplineRows<T> s_;
  Channels channels_;
  SplineAdjoint<T> adjoint_;
  const S *grad_, *image_, *c_;
  S *grad_image_, *grad_c_;
};

// The gradient to the lattice alone. Its forces are gradient times output, so no field is evaluated.
template <typename T, typename S>
class BiasFieldLatticeBackward {
 public:
  BiasFieldLatticeBackward(const Lattice& g, Channels channels, const S* grad, const S* out, S* grad_c)
      : s_(g), channels_(channels), adjoint_(s_, channels), grad_(grad), out_(out), grad_c_(grad_c) {}

  int64_t blocks() const { return s_.blocks(channels_.count); }
  void run(int64_t first, int64_t last);
  int64_t planes() const { return adjoint_.planes(); }
  void gather(int64_t first, int64_t last) const { adjoint_.gather(first, last, grad_c_); }

 private:
  SplineRows<T> s_;
  Channels channels_;
  SplineAdjoint<T> adjoint_;
  const S *grad_, *out_;
  S* grad_c_;
};

}  // namespace medadv::cpu
