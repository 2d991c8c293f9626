#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/team.h"
#include "cuda/kernels.h"

namespace medadv::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocks = 4;  // per multiprocessor: registers enough that nothing spills

__device__ double number(double v) { return v; }
__device__ double number(float v) { return v; }
__device__ double number(__half v) { return __half2float(v); }
__device__ double number(__nv_bfloat16 v) { return __bfloat162float(v); }

__device__ void sum_to_first(const CudaTeam<kThreads>& team, double (&sum)[kThreads]) {
  for (int half = kThreads / 2; half > 0; half /= 2)
    team.each([&](int t) {
      if (t < half) sum[t] += sum[t + half];
    });
}

// One block per row of control points: the weights of its 49 neighbouring rows are the same for all of them.
template <typename S>
__global__ void __launch_bounds__(kThreads, kBlocks)
    bending_gradient_kernel(const __grid_constant__ BendingGradient<S> entry, unsigned planes, S* gradient,
                            double* row_energy) {
  constexpr int kNeighbours = kBand * kBand;
  __shared__ double weight[kNeighbours][3], sum[kThreads];
  const Lattice& g = entry.g;
  const CudaTeam<kThreads> team;
  for (unsigned plane = blockIdx.y; plane < planes; plane += gridDim.y) {
    const int64_t channel = plane / unsigned(g.z.knots);
    const int kz = int(plane % unsigned(g.z.knots)), ky = int(blockIdx.x);
    const S* c = entry.c + channel * g.knots();
    const int64_t row = (int64_t(kz) * g.y.knots + ky) * g.x.knots;
    team.each([&](int t) {
      if (t >= kNeighbours) return;
      const BendingWeights w = entry.weights(kz, ky, t / kBand - 3, t % kBand - 3);
      weight[t][0] = w.x0;
      weight[t][1] = w.x1;
      weight[t][2] = w.x2;
    });
    team.each([&](int t) {
      double energy = 0;
      for (int kx = t; kx < g.x.knots; kx += kThreads) {
        double h = 0;
        for (int o = -3; o <= 3; ++o) {
          const int x = kx + o;
          if (x < 0 || x >= g.x.knots) continue;
          double s0 = 0, s1 = 0, s2 = 0;
          for (int n = 0; n < kNeighbours; ++n) {
            const int z = kz + n / kBand - 3, y = ky + n % kBand - 3;
            if (z < 0 || z >= g.z.knots || y < 0 || y >= g.y.knots) continue;
            const double value = number(c[(int64_t(z) * g.y.knots + y) * g.x.knots + x]);
            s0 += weight[n][0] * value;
            s1 += weight[n][1] * value;
            s2 += weight[n][2] * value;
          }
          h += s0 * entry.along_x(0, kx, o) + s1 * entry.along_x(1, kx, o) + s2 * entry.along_x(2, kx, o);
        }
        energy += h * number(c[row + kx]) / 2;
        gradient[channel * g.knots() + row + kx] = S(h);
      }
      sum[t] = energy;
    });
    sum_to_first(team, sum);
    team.each([&](int t) {
      if (t == 0) row_energy[int64_t(plane) * g.y.knots + ky] = sum[0];
    });
  }
}

// One block per channel sums the energies of its rows, in a fixed order.
__global__ void __launch_bounds__(kThreads) bending_sum_kernel(int64_t rows, const double* row_energy, double* energy) {
  __shared__ double sum[kThreads];
  const CudaTeam<kThreads> team;
  team.each([&](int t) {
    double total = 0;
    for (int64_t i = t; i < rows; i += kThreads) total += row_energy[blockIdx.x * rows + i];
    sum[t] = total;
  });
  sum_to_first(team, sum);
  if (threadIdx.x == 0) energy[blockIdx.x] = sum[0];
}

}  // namespace

template <typename S>
cudaError_t bending_energy(const Lattice& g, const double* length, int64_t channels, const S* c, double* energy,
                           S* gradient, double* workspace, cudaStream_t stream) {
  const BendingGradient<S> entry{cell_integrals(), g, {length[0], length[1], length[2]}, c};
  const int64_t planes = channels * g.z.knots;
  const dim3 rows(unsigned(g.y.knots), unsigned(planes < 65535 ? planes : 65535));
  bending_gradient_kernel<<<rows, kThreads, 0, stream>>>(entry, unsigned(planes), gradient, workspace);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  bending_sum_kernel<<<unsigned(channels), kThreads, 0, stream>>>(int64_t(g.z.knots) * g.y.knots, workspace, energy);
  return cudaGetLastError();
}

template cudaError_t bending_energy<float>(const Lattice&, const double*, int64_t, const float*, double*, float*,
                                           double*, cudaStream_t);
template cudaError_t bending_energy<double>(const Lattice&, const double*, int64_t, const double*, double*, double*,
                                            double*, cudaStream_t);
template cudaError_t bending_energy<__half>(const Lattice&, const double*, int64_t, const __half*, double*, __half*,
                                            double*, cudaStream_t);
template cudaError_t bending_energy<__nv_bfloat16>(const Lattice&, const double*, int64_t, const __nv_bfloat16*,
                                                   double*, __nv_bfloat16*, double*, cudaStream_t);

}  // namespace medadv::cuda
