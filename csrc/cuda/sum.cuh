// Sums in a fixed order: within a block, and of the partial sums that blocks leave.
#pragma once

#include "core/team.h"
#include "cuda/kernels.h"

namespace medadv::cuda {

inline constexpr int kSumThreads = 128;

// Leaves the sum of all in sum[0].
template <typename Team>
__device__ void sum_to_first(const Team& team, double (&sum)[Team::size]) {
  for (int half = Team::size / 2; half > 0; half /= 2)
    team.each([&](int t) {
      if (t < half) sum[t] += sum[t + half];
    });
}

// One block sums the `count` partial sums of its output, times a factor. A template only so that every file may have
// it.
template <int kSize>
__global__ void __launch_bounds__(kSize) sum_kernel(int64_t count, double factor, const double* partial, double* out) {
  __shared__ double sum[kSize];
  const CudaTeam<kSize> team;
  team.each([&](int t) {
    double total = 0;
    for (int64_t i = t; i < count; i += kSize) total += partial[blockIdx.x * count + i];
    sum[t] = total;
  });
  sum_to_first(team, sum);
  if (threadIdx.x == 0) out[blockIdx.x] = factor * sum[0];
}

inline cudaError_t sum_partials(int64_t outputs, int64_t count, double factor, const double* partial, double* out,
                                cudaStream_t stream) {
  sum_kernel<kSumThreads><<<unsigned(outputs), kSumThreads, 0, stream>>>(count, factor, partial, out);
  return cudaGetLastError();
}

}  // namespace medadv::cuda
