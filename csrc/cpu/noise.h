// Noise on the CPU: a block is a run of voxels.
#pragma once

#include <algorithm>

#include "core/noise.h"

namespace medadv::cpu {

inline constexpr int64_t kNoiseVoxels = 1 << 13;  // of a block

template <typename Voxel>
class NoiseKernel {
 public:
  NoiseKernel(int64_t count, const Voxel& voxel) : count_(count), voxel_(voxel) {}

  int64_t blocks() const { return (count_ + kNoiseVoxels - 1) / kNoiseVoxels; }
  void run(int64_t first, int64_t last) const;

 private:
  int64_t count_;
  Voxel voxel_;
};

}  // namespace medadv::cpu
