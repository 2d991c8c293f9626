#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/sum.cuh"

namespace medadv::cuda {
namespace {

constexpr int kBlocks = 4;  // per multiprocessor: registers enough that nothing spills

__device__ double number(double v) { return v; }
__device__ double number(float v) { return v; }
__device__ double number(__half v) { return __half2float(v); }
__device__ double number(__nv_bfloat16 v) { return __bfloat162float(v); }

// One block per row of control points: the weights of its 49 neighbouring rows are the same for all of them.
template <typename S>
__global__ void __launch_bounds__(kSumThreads, kBlocks)
    lattice_gradient_kernel(const __grid_constant__ LatticeGradient<S> entry, unsigned planes, S* gradient,
                            double* row_energy) {
  constexpr int kNeighbours = kBand * kBand;
  __shared__ double weight[kNeighbours][3], sum[kSumThreads];
  const Lattice& g = entry.g;
  const CudaTeam<kSumThreads> team;
  for (unsigned plane = blockIdx.y; plane < planes; plane += gridDim.y) {
    const int64_t channel = plane / unsigned(g.z.knots);
    const int kz = int(plane % unsigned(g.z.knots)), ky = int(blockIdx.x);
    const S* c = entry.c + channel * g.knots();
    const int64_t row = (int64_t(kz) * g.y.knots + ky) * g.x.knots;
    team.each([&](int t) {
      if (t >= kNeighbours) return;
      const LatticeWeights w = entry.weights(kz, ky, t / kBand - 3, t % kBand - 3);
      weight[t][0] = w.x0;
      weight[t][1] = w.x1;
      weight[t][2] = w.x2;
    });
    team.each([&](int t) {
      double energy = 0;
      for (int kx = t; kx < g.x.knots; kx += kSumThreads) {
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

}  // namespace

template <typename S>
cudaError_t lattice_energy(LatticeEnergy kind, const Lattice& g, const double* length, int64_t channels, const S* c,
                           double* energy, S* gradient, double* workspace, cudaStream_t stream) {
  const LatticeGradient<S> entry{kind, cell_integrals(), g, {length[0], length[1], length[2]}, c};
  const int64_t planes = channels * g.z.knots;
  const dim3 rows(unsigned(g.y.knots), unsigned(planes < 65535 ? planes : 65535));
  lattice_gradient_kernel<<<rows, kSumThreads, 0, stream>>>(entry, unsigned(planes), gradient, workspace);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  return sum_partials(channels, int64_t(g.z.knots) * g.y.knots, 1, workspace, energy, stream);
}

#define MEDADV_INSTANTIATE(S)                                                                                    \
  template cudaError_t lattice_energy<S>(LatticeEnergy, const Lattice&, const double*, int64_t, const S*, double*, S*, \
                                         double*, cudaStream_t);
MEDADV_INSTANTIATE(float)
MEDADV_INSTANTIATE(double)
MEDADV_INSTANTIATE(__half)
MEDADV_INSTANTIATE(__nv_bfloat16)

}  // namespace medadv::cuda
