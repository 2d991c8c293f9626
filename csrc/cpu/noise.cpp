#include "cpu/noise.h"

namespace medadv::cpu {
namespace {

template <typename Voxel>
MEDADV_SIMD void call_for_each(const Voxel voxel, int64_t begin, int64_t end) {
  MEDADV_INDEPENDENT
  for (int64_t i = begin; i < end; ++i) voxel(i);
}

template <typename S>
MEDADV_SIMD void step_row(const UnitStep<S> voxel, const typename UnitStep<S>::Row row, int64_t begin, int64_t end) {
  MEDADV_INDEPENDENT
  for (int64_t i = begin; i < end; ++i) voxel(row, i);
}

}  // namespace

template <typename Voxel>
void NoiseKernel<Voxel>::run(int64_t first, int64_t last) const {
  run_voxels(first * kNoiseVoxels, std::min(last * kNoiseVoxels, count_));
}

template <typename Voxel>
void NoiseKernel<Voxel>::run_voxels(int64_t begin, int64_t end) const {
  call_for_each(voxel_, begin, end);
}

template <typename S>
void ClippedRows<S>::run(int64_t first, int64_t last) {
  for (int64_t block = first; block < last; ++block) {
    pieces_.with_block(block, [&](int64_t, int64_t begin, int64_t count) { noise_.run_voxels(begin, begin + count); });
    lengths_.run(block, block + 1);
  }
}

template <typename S>
void UnitStepRows<S>::run(int64_t first, int64_t last) {
  for (int64_t block = first; block < last; ++block) {
    pieces_.with_block(block, [&](int64_t row, int64_t begin, int64_t count) {
      step_row(voxel_, voxel_.row(row), begin, begin + count);
    });
    if (measured_) lengths_.run(block, block + 1);
  }
}

template class NoiseKernel<NoisyImage<float>>;
template class NoiseKernel<NoisyImage<double>>;
template class NoiseKernel<ClippedNoise<float>>;
template class NoiseKernel<ClippedNoise<double>>;
template class NoiseKernel<SignStep<float>>;
template class NoiseKernel<SignStep<double>>;
template class ClippedRows<float>;
template class ClippedRows<double>;
template class UnitStepRows<float>;
template class UnitStepRows<double>;

}  // namespace medadv::cpu
