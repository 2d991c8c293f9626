// Launches of energies: a functor returns the terms of one voxel, a block sums those of its rows in float64, and a
// second kernel sums the blocks of every output. Fixed orders, no atomics.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/sum.cuh"

namespace medadv::cuda {

inline constexpr int kEnergyThreads = 128;
inline constexpr int kEnergyBlocks = 4;  // per multiprocessor: registers enough that nothing spills
inline constexpr int kEnergyRows = 16;   // of one plane, per block

// Blocks that cover one plane.
struct EnergyTiling {
  int32_t x, y;

  explicit EnergyTiling(const Volume& size)
      : x((size.x + kEnergyThreads - 1) / kEnergyThreads), y((size.y + kEnergyRows - 1) / kEnergyRows) {}
  int64_t partials(int64_t planes) const { return planes * x * y; }
};

// Partial sums: [plane, tile y, tile x].
template <typename F>
__global__ void __launch_bounds__(kEnergyThreads, kEnergyBlocks)
    energy_kernel(const __grid_constant__ F f, unsigned planes, Volume size, int32_t tiles_y, double* partial) {
  __shared__ double sum[kEnergyThreads];
  const CudaTeam<kEnergyThreads> team;
  const int32_t x = int32_t(blockIdx.x * kEnergyThreads + threadIdx.x);
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t tile = int32_t(blockIdx.y); tile < tiles_y; tile += int32_t(gridDim.y)) {
      const unsigned channel = plane / unsigned(size.z);
      const int32_t z = int32_t(plane - channel * unsigned(size.z)), begin = tile * kEnergyRows;
      team.each([&](int t) {
        double total = 0;
        if (x < size.x)
          for (int32_t y = begin; y < begin + kEnergyRows && y < size.y; ++y) total += double(f(channel, z, y, x));
        sum[t] = total;
      });
      sum_to_first(team, sum);
      team.each([&](int t) {
        if (t == 0) partial[(int64_t(plane) * tiles_y + tile) * gridDim.x + blockIdx.x] = sum[0];
      });
    }
}

// Writes the sum of f over the voxels of each of `count` images, times a factor.
template <typename F>
cudaError_t sum_energy(const F& f, int64_t count, const Volume& size, double factor, double* energy,
                       double* workspace, cudaStream_t stream) {
  const EnergyTiling tiling(size);
  const int64_t planes = count * size.z;
  const auto axis = [](int64_t n) { return unsigned(n < 65535 ? n : 65535); };
  const dim3 grid(unsigned(tiling.x), axis(tiling.y), axis(planes));
  energy_kernel<<<grid, kEnergyThreads, 0, stream>>>(f, unsigned(planes), size, tiling.y, workspace);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  return sum_partials(count, tiling.partials(size.z), factor, workspace, energy, stream);
}

}  // namespace medadv::cuda
