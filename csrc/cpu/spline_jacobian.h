// The Jacobian determinant of a lattice's displacement on the CPU, the penalty on folding, and their gradients to the
// lattice. The caller hands out ranges of blocks.
//
// The derivatives of a row are as many rows of fields, each with control rows of its own; they exist for the rows of a
// strip at a time, and become the forces on the lattice in their place.
#pragma once

#include <vector>

#include "core/spline_jacobian.h"
#include "cpu/spline_adjoint.h"

namespace medadv::cpu {

// Rows of the derivatives along every axis. All are cut into the same blocks.
template <typename T>
using SlopeRows = std::vector<SplineRows<T>>;

template <typename T, int kAxes>
SlopeRows<T> slope_rows(const SplineSlopes<kAxes>& slopes) {
  return {std::begin(slopes.along), std::end(slopes.along)};
}

// c: [examples, kAxes, knots]; out: [examples, voxels].
template <typename T, typename S, int kAxes>
class SplineJacobianDeterminant {
 public:
  SplineJacobianDeterminant(const SplineSlopes<kAxes>& slopes, int64_t examples, const S* c, S* out)
      : rows_(slope_rows<T>(slopes)), examples_(examples), c_(c), out_(out) {}

  int64_t blocks() const { return rows_[0].blocks(examples_); }
  void run(int64_t first, int64_t last) const;

 private:
  SlopeRows<T> rows_;
  int64_t examples_;
  const S* c_;
  S* out_;
};

// The adjoint of all derivatives together.
template <typename T, int kAxes>
class SlopeAdjoint {
 public:
  // One thread's sums over the rows of a block, by component and axis.
  using Columns = std::vector<Scratch<T>>;

  SlopeAdjoint(const SlopeRows<T>& rows, int64_t examples);

  void begin_block(const Block& block, Columns& columns) const;
  // forces: [row of the strip, component, axis, stride].
  void add_strip(const Block& block, const Strip& strip, const T* forces, Columns& columns) const;
  void end_block(const Block& block, const Columns& columns);

  int64_t planes() const { return along_[0].planes(); }
  template <typename S>
  void gather(int64_t first, int64_t last, S* gradient) const;

 private:
  const SlopeRows<T>& rows_;
  std::vector<SplineAdjoint<T>> along_;  // by axis
};

// grad: [examples, voxels], by the determinants.
template <typename T, typename S, int kAxes>
class SplineJacobianGradient {
 public:
  SplineJacobianGradient(const SplineSlopes<kAxes>& slopes, int64_t examples, const S* grad, const S* c, S* gradient)
      : rows_(slope_rows<T>(slopes)), adjoint_(rows_, examples), examples_(examples), grad_(grad), c_(c),
        gradient_(gradient) {}

  int64_t blocks() const { return rows_[0].blocks(examples_); }
  void run(int64_t first, int64_t last);
  int64_t planes() const { return adjoint_.planes(); }
  void gather(int64_t first, int64_t last) const { adjoint_.gather(first, last, gradient_); }

 private:
  SlopeRows<T> rows_;
  SlopeAdjoint<T, kAxes> adjoint_;
  int64_t examples_;
  const S *grad_, *c_;
  S* gradient_;
};

// The penalty and, unless `gradient` is null, its gradient in the same pass; in T, since the gradient of a mean is too
// small for half types.
template <typename T, typename S, int kAxes>
class SplineFoldingPenalty {
 public:
  SplineFoldingPenalty(const SplineSlopes<kAxes>& slopes, int64_t examples, double threshold, const S* c, T* gradient)
      : rows_(slope_rows<T>(slopes)), adjoint_(rows_, gradient ? examples : 0), examples_(examples),
        threshold_(T(threshold)), weight_(T(1.0 / double(slopes.voxels()))), c_(c), gradient_(gradient),
        partial_(size_t(blocks())) {}

  int64_t blocks() const { return rows_[0].blocks(examples_); }
  void run(int64_t first, int64_t last);
  int64_t planes() const { return adjoint_.planes(); }
  void gather(int64_t first, int64_t last) const { adjoint_.gather(first, last, gradient_); }
  // Writes the mean over the voxels of every example.
  void total(double* penalty) const;

 private:
  SlopeRows<T> rows_;
  SlopeAdjoint<T, kAxes> adjoint_;
  int64_t examples_;
  T threshold_, weight_;
  const S* c_;
  T* gradient_;
  std::vector<double> partial_;  // sums of squared shortfalls, of every block
};

}  // namespace medadv::cpu
