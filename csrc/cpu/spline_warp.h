// Warping by the displacement of a B-spline lattice on the CPU, and its gradients. The caller hands out ranges of
// blocks. Displacements exist a row at a time, forces on the lattice a block at a time.
#pragma once

#include "cpu/spline_adjoint.h"
#include "cpu/warp_rows.h"

namespace medadv::cpu {

// T: arithmetic type; D: storage of the lattice, [images, axes, knots]; S: of the image.
template <typename T, typename D, typename S>
class SplineWarp {
 public:
  SplineWarp(const Sampling& s, const Lattice& g, const S* image, const D* c, S* out)
      : s_(s), rows_(g), image_(image), c_(c), out_(out) {}

  int64_t blocks() const { return rows_.blocks(s_.images); }
  void run(int64_t first, int64_t last) const;

 private:
  Sampling s_;
  SplineRows<T> rows_;
  const S* image_;
  const D* c_;
  S* out_;
};

// Gradients to the image and to the lattice in one pass; null where not wanted.
template <typename T, typename S>
class SplineWarpBackward {
 public:
  SplineWarpBackward(const Sampling& s, const Lattice& g, const S* grad, const S* image, const S* c, S* grad_image,
                     S* grad_c)
      : s_(s), rows_(g), adjoint_(rows_, {grad_c ? s.images * s.axes : 0, 1}), grad_(grad), image_(image), c_(c),
        grad_image_(grad_image), grad_c_(grad_c) {}

  // The owner of a block also sums the gradient to the image in its rows.
  int64_t blocks() const { return rows_.blocks(s_.images); }
  void run(int64_t first, int64_t last);
  int64_t planes() const { return adjoint_.planes(); }
  void gather(int64_t first, int64_t last) const { adjoint_.gather(first, last, grad_c_); }

 private:
  Sampling s_;
  SplineRows<T> rows_;
  SplineAdjoint<T> adjoint_;
  const S *grad_, *image_, *c_;
  S *grad_image_, *grad_c_;
};

}  // namespace medadv::cpu
