#include "core/polynomial_tile.h"
#include "cuda/spline_launch.cuh"

namespace medadv::cuda {

// Blocks per multiprocessor, at least: registers enough that nothing spills; see kTileBlocks.
template <typename T>
inline constexpr int kPolynomialBlocks = sizeof(T) == 8 ? 2 : 4;
inline constexpr int kMovedBlocks = 3;

// Planes are those of examples times sets, or of examples.
template <bool kMoved, typename T, typename S, typename Voxel>
__global__ void __launch_bounds__(kPolynomialThreads, kPolynomialBlocks<T>)
    polynomial_forward_kernel(const __grid_constant__ PolynomialBias<T> bias, unsigned planes, int32_t tiles_y,
                              const S* coefficients, const __grid_constant__ Voxel voxel) {
  __shared__ PolynomialForward<T> shared;
  const CudaTeam<kPolynomialThreads> team;
  const unsigned depth = unsigned(bias.size().z), sets = unsigned(bias.sets);
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < tiles_y; y += int32_t(gridDim.y)) {
      const unsigned set = plane / depth, example = set / sets;
      const PolynomialTile tile{int32_t(example), int32_t(set - example * sets), int32_t(plane - set * depth), y,
                                int32_t(blockIdx.x)};
      const S* a = coefficients + int64_t(set) * bias.shape.terms();
      if constexpr (kMoved) shared.run_moved(team, bias, a, tile, voxel);
      else shared.run_still(team, bias, a, tile, voxel);
    }
}

template <typename T, typename Force>
__global__ void __launch_bounds__(kPolynomialThreads, kPolynomialBlocks<T>)
    polynomial_still_backward_kernel(const __grid_constant__ PolynomialBias<T> bias, unsigned planes, int32_t tiles_y,
                                     const __grid_constant__ Force force, T* partial) {
  __shared__ PolynomialStillBackward<T> shared;
  const unsigned depth = unsigned(bias.size().z), sets = unsigned(bias.sets);
  const int64_t sums = bias.shape.plane_terms();
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < tiles_y; y += int32_t(gridDim.y)) {
      const unsigned set = plane / depth, example = set / sets;
      const PolynomialTile tile{int32_t(example), int32_t(set - example * sets), int32_t(plane - set * depth), y,
                                int32_t(blockIdx.x)};
      shared.run(CudaTeam<kPolynomialThreads>{}, bias, tile, force,
                 partial + ((int64_t(plane) * tiles_y + y) * gridDim.x + blockIdx.x) * sums);
    }
}

template <typename T, typename S, typename Force>
__global__ void __launch_bounds__(kMovedThreads<T>, kMovedBlocks)
    polynomial_moved_backward_kernel(const __grid_constant__ PolynomialBias<T> bias, unsigned planes, int32_t tiles_y,
                                     const S* coefficients, const __grid_constant__ Force force, bool to_weights,
                                     T* partial) {
  __shared__ PolynomialMovedBackward<T> shared;
  const unsigned depth = unsigned(bias.size().z);
  const int64_t sums = moved_sums(bias, to_weights);
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < tiles_y; y += int32_t(gridDim.y)) {
      const unsigned example = plane / depth;
      const PolynomialTile tile{int32_t(example), 0, int32_t(plane - example * depth), y, int32_t(blockIdx.x)};
      shared.run(CudaTeam<kMovedThreads<T>>{}, bias, coefficients + int64_t(example) * bias.sets * bias.shape.terms(),
                 tile, force, to_weights, partial + ((int64_t(plane) * tiles_y + y) * gridDim.x + blockIdx.x) * sums);
    }
}

template <typename T, typename S, typename Force>
__global__ void __launch_bounds__(kFlowThreads, kMovedBlocks)
    flow_gather_kernel(const __grid_constant__ PolynomialBias<T> bias, const S* coefficients,
                       const __grid_constant__ Force force, T* grad_weights) {
  __shared__ FlowGather<T> shared;
  for (unsigned example = blockIdx.y; example < unsigned(bias.examples); example += gridDim.y)
    shared.run(CudaTeam<kFlowThreads>{}, bias, coefficients + int64_t(example) * bias.sets * bias.shape.terms(),
               int32_t(example), int32_t(blockIdx.x), force, grad_weights);
}

template <typename T, typename S>
__global__ void __launch_bounds__(kTermThreads)
    gather_term_kernel(const __grid_constant__ GatherTerm<T, S> gather, unsigned examples) {
  __shared__ double sum[kTermThreads];
  for (unsigned example = blockIdx.y; example < examples; example += gridDim.y)
    gather.run(CudaTeam<kTermThreads>{}, sum, int32_t(example), int32_t(blockIdx.x));
}

template <typename T, typename S>
cudaError_t polynomial_bias_field(const PolynomialBias<T>& bias, const S* image, const S* a, S* out,
                                  cudaStream_t stream) {
  const PolynomialTiling tiling(bias.size(), kPolynomialWidth);
  const int64_t planes = bias.examples * bias.sets * bias.size().z;
  const dim3 grid(unsigned(tiling.x), grid_axis(tiling.y), grid_axis(planes));
  const BiasVoxel<T, S> voxel{image, out, quads_aligned(bias.size().x, image, out)};
  const auto kernel = bias.motion.warp == CoordinateWarp::none ? polynomial_forward_kernel<false, T, S, BiasVoxel<T, S>>
                                                               : polynomial_forward_kernel<true, T, S, BiasVoxel<T, S>>;
  kernel<<<grid, kPolynomialThreads, 0, stream>>>(bias, unsigned(planes), tiling.y, a, voxel);
  return cudaGetLastError();
}

template <typename T, typename S>
cudaError_t polynomial_parameters_backward(const PolynomialBias<T>& bias, const S* grad, const S* out, const S* a,
                                           S* grad_a, T* grad_weights, T* workspace, cudaStream_t stream) {
  const OutputForce<T, S> force{grad, out};
  const bool still = bias.motion.warp == CoordinateWarp::none;
  const PolynomialTiling tiling(bias.size(), still ? kPolynomialWidth : kMovedThreads<T>);
  const int64_t planes = bias.examples * (still ? bias.sets : 1) * bias.size().z;
  const dim3 grid(unsigned(tiling.x), grid_axis(tiling.y), grid_axis(planes));
  const int64_t sums = still ? bias.shape.plane_terms() : moved_sums(bias, grad_weights != nullptr);
  if (still)
    polynomial_still_backward_kernel<<<grid, kPolynomialThreads, 0, stream>>>(bias, unsigned(planes), tiling.y, force,
                                                                              workspace);
  else
    polynomial_moved_backward_kernel<<<grid, kMovedThreads<T>, 0, stream>>>(bias, unsigned(planes), tiling.y, a, force,
                                                                            grad_weights != nullptr, workspace);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  const GatherTerm<T, S> gather{bias, tiling, workspace, sums, grad_a, grad_weights};
  const int64_t outputs = still ? bias.sets * bias.shape.terms() : sums;
  gather_term_kernel<<<dim3(unsigned(outputs), grid_axis(bias.examples)), kTermThreads, 0, stream>>>(
      gather, unsigned(bias.examples));
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  if (!grad_weights || bias.motion.warp != CoordinateWarp::flow) return cudaSuccess;
  flow_gather_kernel<<<dim3(unsigned(bias.motion.rows()), grid_axis(bias.examples)), kFlowThreads, 0, stream>>>(
      bias, a, force, grad_weights);
  return cudaGetLastError();
}

#define MEDADV_INSTANTIATE(T, S)                                                                                     \
  template cudaError_t polynomial_bias_field<T, S>(const PolynomialBias<T>&, const S*, const S*, S*, cudaStream_t);  \
  template cudaError_t polynomial_parameters_backward<T, S>(const PolynomialBias<T>&, const S*, const S*, const S*,  \
                                                            S*, T*, T*, cudaStream_t);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

}  // namespace medadv::cuda
