// Launches of everything that evaluates a B-spline field, or sums forces on its lattice.
//
// Tiles where the lattice is coarser than the image (core/spline_tile.h), else the voxel-by-voxel
// definitions (core/spline_field.h). Grids are three-dimensional, so that no index is divided in 64 bits;
// axes of a grid end at 65535 blocks, the rest is a loop.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/kernels.h"

namespace medadv::cuda {

inline unsigned grid_axis(int64_t n) { return unsigned(n < 65535 ? n : 65535); }

// --- voxel by voxel --------------------------------------------------------------------------------------

inline constexpr int kThreads = 128;
inline constexpr int kBlocks = 4;  // per multiprocessor; see kTileBlocks

// Calls f(plane / depth, plane % depth, y, x) for planes of `rows` rows of `width` elements.
template <typename F>
__global__ void __launch_bounds__(kThreads, kBlocks)
    for_each_kernel(const __grid_constant__ F f, unsigned planes, unsigned depth, int32_t rows, int32_t width) {
  const int32_t x = int32_t(blockIdx.x * kThreads + threadIdx.x);
  if (x >= width) return;
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < rows; y += int32_t(gridDim.y))
      f(plane / depth, int32_t(plane % depth), y, x);
}

template <typename F>
cudaError_t for_each(const F& f, int64_t planes, int32_t depth, int32_t rows, int32_t width, cudaStream_t stream) {
  const dim3 grid((unsigned(width) + kThreads - 1) / kThreads, grid_axis(rows), grid_axis(planes));
  for_each_kernel<<<grid, kThreads, 0, stream>>>(f, unsigned(planes), unsigned(depth), rows, width);
  return cudaGetLastError();
}

// --- tile by tile ----------------------------------------------------------------------------------------

// Blocks per multiprocessor, at least: registers enough that nothing spills, which the compiler's own choice
// does to fit one more block.
template <typename T>
inline constexpr int kTileBlocks = sizeof(T) == 8 ? 2 : 3;

template <typename T, typename S, typename Voxel>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks<T>)
    tile_forward_kernel(const __grid_constant__ Tiling<T> tiling, Channels channels, unsigned planes, const S* c,
                        const __grid_constant__ Voxel voxel) {
  __shared__ TileForward<T> shared;
  const unsigned depth = unsigned(tiling.g.z.size), per_knot = unsigned(channels.per_knot);
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < tiling.y; y += int32_t(gridDim.y)) {
      const unsigned channel = plane / depth;
      shared.run(CudaTeam<kTileThreads>{}, tiling, TileIndex{plane, y, int32_t(blockIdx.x)}, int32_t(plane % depth),
                 c + (channel / per_knot) * tiling.g.knots(), voxel);
    }
}

template <typename T, typename S, typename Force>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks<T>)
    tile_backward_kernel(const __grid_constant__ Tiling<T> tiling, Channels channels, unsigned planes, const S* c,
                         const __grid_constant__ Force force, T* partial) {
  __shared__ TileBackward<T> shared;
  const unsigned depth = unsigned(tiling.g.z.size), per_knot = unsigned(channels.per_knot);
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < tiling.y; y += int32_t(gridDim.y)) {
      const unsigned channel = plane / depth;
      const S* lattice = c ? c + (channel / per_knot) * tiling.g.knots() : nullptr;
      shared.run(CudaTeam<kTileThreads>{}, tiling, TileIndex{plane, y, int32_t(blockIdx.x)}, int32_t(plane % depth),
                 lattice, force, partial + tiling.partial_of(plane, y, int32_t(blockIdx.x)));
    }
}

template <typename T, typename S>
__global__ void __launch_bounds__(kGatherThreads)
    gather_kernel(const __grid_constant__ GatherKnot<T, S> gather, unsigned planes) {
  __shared__ T sum[kGatherThreads];
  const Lattice& g = gather.tiling.g;
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < g.y.knots; y += int32_t(gridDim.y)) {
      const unsigned lattice = plane / unsigned(g.z.knots);
      gather.run(CudaTeam<kGatherThreads>{}, sum,
                 KnotIndex{int32_t(lattice), int32_t(plane - lattice * unsigned(g.z.knots)), y, int32_t(blockIdx.x)});
    }
}

// --- an operator -----------------------------------------------------------------------------------------

// Evaluates the field and calls voxel there.
template <typename T, typename S, typename Voxel>
cudaError_t spline_forward(const Lattice& g, Channels channels, const S* c, const Voxel& voxel, cudaStream_t stream) {
  const Tiling<T> tiling(g);
  const int64_t planes = channels.count * g.z.size;
  if (!tiling.fits())
    return for_each(SplineField<T, S, Voxel>{g, channels, c, voxel}, planes, g.z.size, g.y.size, g.x.size, stream);
  const dim3 grid(unsigned(tiling.x), grid_axis(tiling.y), grid_axis(planes));
  tile_forward_kernel<T><<<grid, kTileThreads, 0, stream>>>(tiling, channels, unsigned(planes), c, voxel);
  return cudaGetLastError();
}

// Sums forces that do not depend on the field, on a lattice too fine for tiles.
template <typename T, typename S, typename Force>
cudaError_t fine_backward(const Lattice& g, Channels channels, const Force& force, S* grad_c, cudaStream_t stream) {
  return for_each(SplineAdjoint<T, S, Force>{g, channels, force, grad_c}, channels.lattices() * g.z.knots, g.z.knots,
                  g.y.knots, g.x.knots, stream);
}

// Sums forces on a lattice that fits tiles; c is null where they do not depend on the field.
template <typename T, typename S, typename Force>
cudaError_t tile_backward(const Tiling<T>& tiling, Channels channels, const S* c, const Force& force, S* grad_c,
                          T* workspace, cudaStream_t stream) {
  const Lattice& g = tiling.g;
  const int64_t planes = channels.count * g.z.size, knot_planes = channels.lattices() * g.z.knots;
  const dim3 tiles(unsigned(tiling.x), grid_axis(tiling.y), grid_axis(planes));
  tile_backward_kernel<T><<<tiles, kTileThreads, 0, stream>>>(tiling, channels, unsigned(planes), c, force, workspace);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  const dim3 knots(unsigned(g.x.knots), grid_axis(g.y.knots), grid_axis(knot_planes));
  gather_kernel<T, S><<<knots, kGatherThreads, 0, stream>>>(GatherKnot<T, S>{tiling, channels, workspace, grad_c},
                                                             unsigned(knot_planes));
  return cudaGetLastError();
}

// Sums forces that do not depend on the field.
template <typename T, typename S, typename Force>
cudaError_t spline_backward(const Lattice& g, Channels channels, const Force& force, S* grad_c, T* workspace,
                            cudaStream_t stream) {
  const Tiling<T> tiling(g);
  if (!tiling.fits()) return fine_backward<T>(g, channels, force, grad_c, stream);
  return tile_backward(tiling, channels, static_cast<const S*>(nullptr), force, grad_c, workspace, stream);
}

}  // namespace medadv::cuda
