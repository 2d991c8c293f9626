// Noise on the CPU: a block is a run of voxels.
#pragma once

#include <algorithm>

#include "core/noise.h"
#include "cpu/row_length.h"

namespace medadv::cpu {

inline constexpr int64_t kNoiseVoxels = 1 << 13;  // of a block

template <typename Voxel>
class NoiseKernel {
 public:
  NoiseKernel(int64_t count, const Voxel& voxel) : count_(count), voxel_(voxel) {}

  int64_t blocks() const { return (count_ + kNoiseVoxels - 1) / kNoiseVoxels; }
  void run(int64_t first, int64_t last) const;
  void run_voxels(int64_t begin, int64_t end) const;

 private:
  int64_t count_;
  Voxel voxel_;
};

// Clipped noise and the length of every row of it, which is summed while it is in cache.
template <typename S>
class ClippedRows {
 public:
  ClippedRows(const RowPieces& pieces, const ClippedNoise<S>& voxel)
      : pieces_(pieces), noise_(pieces.rows * pieces.entries, voxel), lengths_(pieces, voxel.out, nullptr) {}

  int64_t blocks() const { return pieces_.blocks(); }
  void run(int64_t first, int64_t last);
  void gather(double* lengths) const { lengths_.gather(lengths); }

 private:
  RowPieces pieces_;
  NoiseKernel<ClippedNoise<S>> noise_;
  RowLengths<S, RowNorm::l2> lengths_;
};

// Noise after a step of one length; and where it is measured the length of every row of it, summed while it is in cache.
template <typename S>
class UnitStepRows {
 public:
  UnitStepRows(const RowPieces& pieces, const UnitStep<S>& voxel, bool measured)
      : pieces_(pieces), voxel_(voxel), measured_(measured), lengths_(pieces, voxel.out, nullptr) {}

  int64_t blocks() const { return pieces_.blocks(); }
  void run(int64_t first, int64_t last);
  void gather(double* lengths) const { lengths_.gather(lengths); }

 private:
  RowPieces pieces_;
  UnitStep<S> voxel_;
  bool measured_;
  RowLengths<S, RowNorm::l2> lengths_;
};

}  // namespace medadv::cpu
