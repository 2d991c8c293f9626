// Warping by a dense displacement on the CPU, and its gradients. The caller hands out ranges of blocks.
#pragma once

#include "cpu/warp_rows.h"

namespace medadv::cpu {

// T: arithmetic type; D: storage of the displacement; S: of the image.
template <typename T, typename D, typename S>
class Warp {
 public:
  Warp(const Sampling& s, const S* image, const D* displacement, S* out)
      : s_(s), image_(image), displacement_(displacement), out_(out) {}

  // Blocks of some rows of an image, all its channels.
  int64_t blocks() const { return row_blocks(s_); }
  void run(int64_t first, int64_t last) const;

 private:
  Sampling s_;
  const S* image_;
  const D* displacement_;
  S* out_;
};

// Gradients to the image and to the displacement in one pass; null where not wanted.
template <typename T, typename S>
class WarpBackward {
 public:
  WarpBackward(const Sampling& s, const S* grad, const S* image, const S* displacement, S* grad_image,
               S* grad_displacement)
      : s_(s), grad_(grad), image_(image), displacement_(displacement), grad_image_(grad_image),
        grad_displacement_(grad_displacement) {}

  // The owner of a block's rows also sums the gradient to the image there.
  int64_t blocks() const { return row_blocks(s_); }
  void run(int64_t first, int64_t last) const;

 private:
  bool enters(const Slab& slab, int64_t row) const;

  Sampling s_;
  const S *grad_, *image_, *displacement_;
  S *grad_image_, *grad_displacement_;
};

}  // namespace medadv::cpu
