// The Jacobian determinant of a displacement on the CPU, the penalty on folding, and their gradients. The caller hands
// out ranges of blocks.
//
// Forwards a block is a band of rows of one plane. Backwards it is a band of rows of all planes of an example: the
// forces of a cell on the voxels below and behind it are kept until the rows that they belong to come.
#pragma once

#include <vector>

#include "core/jacobian.h"
#include "cpu/bands.h"

namespace medadv::cpu {

template <typename T, typename S, int kAxes>
class JacobianDeterminant {
 public:
  JacobianDeterminant(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, S* out)
      : stencil_(stencil), examples_(examples), bands_(stencil.cells()), out_(out) {}

  int64_t blocks() const { return bands_.blocks(examples_); }
  void run(int64_t first, int64_t last) const;

 private:
  JacobianStencil<T, S, kAxes> stencil_;
  int64_t examples_;
  Bands bands_;
  S* out_;
};

template <typename T, typename S, int kAxes>
class FoldingPenalty {
 public:
  FoldingPenalty(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, double threshold)
      : stencil_(stencil), examples_(examples), bands_(stencil.cells()), threshold_(T(threshold)),
        sums_(bands_, stencil.size.x, examples) {}

  int64_t blocks() const { return sums_.blocks(); }
  void run(int64_t first, int64_t last);
  // Writes the mean over the cells of every example.
  void gather(double* penalty) const;

 private:
  JacobianStencil<T, S, kAxes> stencil_;
  int64_t examples_;
  Bands bands_;
  T threshold_;
  BlockSums<T> sums_;
};

template <typename T, typename S, int kAxes, typename Force>
class JacobianGradient {
 public:
  JacobianGradient(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, const Force& force, S* out);

  int64_t blocks() const { return examples_ * bands_; }
  void run(int64_t first, int64_t last) const;

 private:
  JacobianStencil<T, S, kAxes> stencil_;
  int64_t examples_;
  Force force_;
  int32_t band_rows_;
  int64_t bands_;
  S* out_;
};

}  // namespace medadv::cpu
