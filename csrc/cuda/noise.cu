// Noise added and clipped: a thread walks over voxels, or over those of a row, neighbours side by side.
#include "cuda/kernels.h"

namespace medadv::cuda {
namespace {

constexpr int kNoiseThreads = 256;
constexpr int64_t kNoiseBlocks = 1 << 14;  // at most: beyond that a thread takes several voxels

template <typename Voxel>
__global__ void __launch_bounds__(kNoiseThreads) noise_kernel(const __grid_constant__ Voxel voxel, int64_t count) {
  const int64_t stride = int64_t(gridDim.x) * kNoiseThreads;
  MEDADV_UNROLL_BY(1)  // else the number of rounds is divided for, in 64 bits
  for (int64_t i = int64_t(blockIdx.x) * kNoiseThreads + threadIdx.x; i < count; i += stride) voxel(i);
}

template <typename S>
__global__ void __launch_bounds__(kNoiseThreads)
    unit_step_kernel(const __grid_constant__ UnitStep<S> voxel, int64_t rows, int64_t entries) {
  const int64_t stride = int64_t(gridDim.x) * kNoiseThreads;
  for (int64_t number = blockIdx.y; number < rows; number += gridDim.y) {
    const auto row = voxel.row(number);
    MEDADV_UNROLL_BY(1)  // else the number of rounds is divided for, in 64 bits
    for (int64_t i = int64_t(blockIdx.x) * kNoiseThreads + threadIdx.x; i < entries; i += stride)
      voxel(row, number * entries + i);
  }
}

unsigned axis(int64_t n) { return unsigned(n < 65535 ? n : 65535); }

}  // namespace

template <typename Voxel>
cudaError_t noise(int64_t count, const Voxel& voxel, cudaStream_t stream) {
  const int64_t blocks = (count + kNoiseThreads - 1) / kNoiseThreads;
  noise_kernel<<<unsigned(blocks < kNoiseBlocks ? blocks : kNoiseBlocks), kNoiseThreads, 0, stream>>>(voxel, count);
  return cudaGetLastError();
}

template <typename S>
cudaError_t unit_step(int64_t rows, int64_t entries, const UnitStep<S>& voxel, cudaStream_t stream) {
  const int64_t blocks = (entries + kNoiseThreads - 1) / kNoiseThreads;
  unit_step_kernel<<<dim3(axis(blocks), axis(rows)), kNoiseThreads, 0, stream>>>(voxel, rows, entries);
  return cudaGetLastError();
}

template cudaError_t noise(int64_t, const NoisyImage<float>&, cudaStream_t);
template cudaError_t noise(int64_t, const NoisyImage<double>&, cudaStream_t);
template cudaError_t noise(int64_t, const ClippedNoise<float>&, cudaStream_t);
template cudaError_t noise(int64_t, const ClippedNoise<double>&, cudaStream_t);
template cudaError_t noise(int64_t, const SignStep<float>&, cudaStream_t);
template cudaError_t noise(int64_t, const SignStep<double>&, cudaStream_t);
template cudaError_t unit_step(int64_t, int64_t, const UnitStep<float>&, cudaStream_t);
template cudaError_t unit_step(int64_t, int64_t, const UnitStep<double>&, cudaStream_t);

}  // namespace medadv::cuda
