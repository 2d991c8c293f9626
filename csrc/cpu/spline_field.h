// The dense field of a lattice on the CPU, and its adjoint. The caller hands out ranges of blocks.
#pragma once

#include "cpu/spline_adjoint.h"

namespace medadv::cpu {

template <typename T, typename S>
class SplineField {
 public:
  SplineField(const Lattice& g, int64_t channels, const S* c, S* out)
      : s_(g), channels_(channels), c_(c), out_(out) {}

  int64_t blocks() const { return s_.blocks(channels_); }
  void run(int64_t first, int64_t last) const;

 private:
  SplineRows<T> s_;
  int64_t channels_;
  const S* c_;
  S* out_;
};

template <typename T, typename S>
class SplineFieldAdjoint {
 public:
  SplineFieldAdjoint(const Lattice& g, int64_t channels, const S* grad, S* grad_c)
      : s_(g), channels_(channels), adjoint_(s_, {channels, 1}), grad_(grad), grad_c_(grad_c) {}

  int64_t blocks() const { return s_.blocks(channels_); }
  void run(int64_t first, int64_t last);
  int64_t planes() const { return adjoint_.planes(); }
  void gather(int64_t first, int64_t last) const { adjoint_.gather(first, last, grad_c_); }

 private:
  SplineRows<T> s_;
  int64_t channels_;
  SplineAdjoint<T> adjoint_;
  const S* grad_;
  S* grad_c_;
};

}  // namespace medadv::cpu
