#include "cpu/noise.h"

namespace medadv::cpu {
namespace {

template <typename Voxel>
MEDADV_SIMD void run_voxels(const Voxel voxel, int64_t begin, int64_t end) {
  MEDADV_INDEPENDENT
  for (int64_t i = begin; i < end; ++i) voxel(i);
}

}  // namespace

template <typename Voxel>
void NoiseKernel<Voxel>::run(int64_t first, int64_t last) const {
  run_voxels(voxel_, first * kNoiseVoxels, std::min(last * kNoiseVoxels, count_));
}

template class NoiseKernel<NoisyImage<float>>;
template class NoiseKernel<NoisyImage<double>>;
template class NoiseKernel<ClippedNoise<float>>;
template class NoiseKernel<ClippedNoise<double>>;

}  // namespace medadv::cpu
