#include "core/spline_jacobian_tile.h"
#include "cuda/spline_launch.cuh"
#include "cuda/sum.cuh"

namespace medadv::cuda {
namespace {

// Calls body(tile, example, z) for a block's share of the tiles.
template <typename T, typename Body>
__device__ __forceinline__ void for_each_tile(const Tiling<T>& tiling, unsigned planes, const Body& body) {
  const unsigned depth = unsigned(tiling.g.z.size);
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < tiling.y; y += int32_t(gridDim.y)) {
      const unsigned example = plane / depth;
      body(TileIndex{plane, y, int32_t(blockIdx.x)}, example, int32_t(plane - example * depth));
    }
}

// Blocks per multiprocessor: fewer than kTileBlocks, so that nothing spills.
template <typename T>
inline constexpr int kSlopeBlocks = sizeof(T) == 8 ? 1 : 2;

template <typename T, int kAxes, typename S, typename Voxel>
__global__ void __launch_bounds__(kTileThreads, kSlopeBlocks<T>)
    tile_slopes_kernel(const __grid_constant__ Tiling<T> tiling, const __grid_constant__ SplineSlopes<kAxes> slopes,
                       unsigned planes, const S* c, const __grid_constant__ Voxel voxel) {
  __shared__ TileSlopes<T, kAxes> shared;
  for_each_tile(tiling, planes, [&](const TileIndex& tile, int64_t example, int32_t z) {
    shared.run(CudaTeam<kTileThreads>{}, tiling, slopes, tile, example, z, c + example * kAxes * tiling.g.knots(),
               [&](int, int64_t n, int64_t at, const Deformation<T, kAxes>& d) { voxel(n, at, d); });
  });
}

// The same, with the sum over every tile: [plane, tile y, tile x].
template <typename T, int kAxes, typename S, typename Voxel>
__global__ void __launch_bounds__(kTileThreads, kSlopeBlocks<T>)
    tile_slopes_sum_kernel(const __grid_constant__ Tiling<T> tiling,
                           const __grid_constant__ SplineSlopes<kAxes> slopes, unsigned planes, const S* c,
                           const __grid_constant__ Voxel voxel, double* partial) {
  __shared__ TileSlopes<T, kAxes> shared;
  __shared__ double sum[kTileThreads];
  const CudaTeam<kTileThreads> team;
  for_each_tile(tiling, planes, [&](const TileIndex& tile, int64_t example, int32_t z) {
    team.each([&](int t) { sum[t] = 0; });
    shared.run(team, tiling, slopes, tile, example, z, c + example * kAxes * tiling.g.knots(),
               [&](int t, int64_t n, int64_t at, const Deformation<T, kAxes>& d) {
                 sum[t] += double(voxel(n, at, d));
               });
    sum_to_first(team, sum);
    team.each([&](int t) {
      if (t == 0) partial[(tile.plane * tiling.y + tile.y) * tiling.x + tile.x] = sum[0];
    });
  });
}

template <typename T, int kAxes>
struct Tiles {
  Tiling<T> tiling;
  SplineSlopes<kAxes> slopes;
  int64_t planes;
  dim3 grid;

  Tiles(const SplineSlopes<kAxes>& along, int64_t examples)
      : tiling(along.along[0]), slopes(along), planes(examples * tiling.g.z.size),
        grid(unsigned(tiling.x), grid_axis(tiling.y), grid_axis(planes)) {}

  template <typename S, typename Voxel>
  cudaError_t at_voxels(const S* c, const Voxel& voxel, cudaStream_t stream) const {
    tile_slopes_kernel<T, kAxes>
        <<<grid, kTileThreads, 0, stream>>>(tiling, slopes, unsigned(planes), c, voxel);
    return cudaGetLastError();
  }

  template <typename S, typename Voxel>
  cudaError_t sum_voxels(const S* c, const Voxel& voxel, double* partial, cudaStream_t stream) const {
    tile_slopes_sum_kernel<T, kAxes>
        <<<grid, kTileThreads, 0, stream>>>(tiling, slopes, unsigned(planes), c, voxel, partial);
    return cudaGetLastError();
  }
};

// Sums what the axes contribute to the gradient of some examples, each `count` numbers.
template <typename T, typename S, int kAxes>
struct SumAxes {
  const T* along;
  int64_t count;
  S* gradient;
  int32_t rows, width;

  __device__ __forceinline__ void operator()(unsigned plane, int32_t, int32_t y, int32_t x) const {
    const int64_t at = (int64_t(plane) * rows + y) * width + x;
    T sum = 0;
    for (int a = 0; a < kAxes; ++a) sum += along[a * count + at];
    gradient[at] = S(sum);
  }
};

// Some examples at a time, one axis at a time: forces on its derivatives to the workspace, then the adjoint of those.
// write(first, count, axis) writes the forces of `count` examples.
template <typename T, typename S, int kAxes, typename Write>
cudaError_t sum_forces(const SplineSlopes<kAxes>& slopes, int64_t examples, S* gradient,
                       const SlopeWorkspace<T>& workspace, cudaStream_t stream, const Write& write) {
  const Lattice& g = slopes.along[0];
  const int64_t step = images_at_a_time(examples, kAxes * g.voxels());
  for (int64_t first = 0; first < examples; first += step) {
    const int64_t some = first + step < examples ? step : examples - first, count = some * kAxes * g.knots();
    for (int a = 0; a < kAxes; ++a) {
      if (const cudaError_t error = write(first, some, a); error != cudaSuccess) return error;
      const cudaError_t error = spline_field_adjoint<T, T>(slopes.along[a], some * kAxes, workspace.forces,
                                                           workspace.along + a * count, workspace.partials, stream);
      if (error != cudaSuccess) return error;
    }
    const SumAxes<T, S, kAxes> sum{workspace.along, count, gradient + first * kAxes * g.knots(), g.y.knots, g.x.knots};
    const cudaError_t error = for_each(sum, some * kAxes * g.z.knots, 1, g.y.knots, g.x.knots, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

template <typename T>
int64_t folding_workspace(const Lattice& g, int64_t examples) {
  const Tiling<T> tiling(g);
  return examples * g.z.size * tiling.y * tiling.x;
}

template <typename T, typename S, int kAxes>
cudaError_t spline_jacobian_determinant(const SplineSlopes<kAxes>& slopes, int64_t examples, const S* c, S* out,
                                        cudaStream_t stream) {
  return Tiles<T, kAxes>(slopes, examples).at_voxels(c, SlopeDeterminant<S>{slopes.voxels(), out}, stream);
}

template <typename T, typename S, int kAxes>
cudaError_t spline_jacobian_gradient(const SplineSlopes<kAxes>& slopes, int64_t examples, const S* grad, const S* c,
                                     S* gradient, const SlopeWorkspace<T>& workspace, cudaStream_t stream) {
  return sum_forces(slopes, examples, gradient, workspace, stream, [&](int64_t first, int64_t count, int axis) {
    const GivenSlopeForces<T, S, kAxes> voxel{{slopes.voxels(), axis, workspace.forces},
                                              grad + first * slopes.voxels()};
    return Tiles<T, kAxes>(slopes, count).at_voxels(c + first * kAxes * slopes.knots(), voxel, stream);
  });
}

template <typename T, typename S, int kAxes>
cudaError_t spline_folding_penalty(const SplineSlopes<kAxes>& slopes, int64_t examples, double threshold, const S* c,
                                   double* penalty, T* gradient, const SlopeWorkspace<T>& workspace,
                                   cudaStream_t stream) {
  const int64_t tiles = folding_workspace<T>(slopes.along[0], 1);
  const auto run = [&](int64_t first, int64_t count, int axis) {
    const FoldingSlopeForces<T, kAxes> voxel{{slopes.voxels(), axis, gradient ? workspace.forces : nullptr},
                                             T(threshold)};
    return Tiles<T, kAxes>(slopes, count).sum_voxels(c + first * kAxes * slopes.knots(), voxel,
                                                     workspace.tiles + first * tiles, stream);
  };
  const cudaError_t error =
      gradient ? sum_forces(slopes, examples, gradient, workspace, stream, run) : run(0, examples, 0);
  if (error != cudaSuccess) return error;
  return sum_partials(examples, tiles, 1.0 / double(slopes.voxels()), workspace.tiles, penalty, stream);
}

#define MEDADV_INSTANTIATE_AXES(T, S, kAxes)                                                                      \
  template cudaError_t spline_jacobian_determinant<T, S, kAxes>(const SplineSlopes<kAxes>&, int64_t, const S*, S*, \
                                                                cudaStream_t);                                    \
  template cudaError_t spline_jacobian_gradient<T, S, kAxes>(const SplineSlopes<kAxes>&, int64_t, const S*,       \
                                                             const S*, S*, const SlopeWorkspace<T>&, cudaStream_t); \
  template cudaError_t spline_folding_penalty<T, S, kAxes>(const SplineSlopes<kAxes>&, int64_t, double, const S*, \
                                                           double*, T*, const SlopeWorkspace<T>&, cudaStream_t);
#define MEDADV_INSTANTIATE(T, S)   \
  MEDADV_INSTANTIATE_AXES(T, S, 2) \
  MEDADV_INSTANTIATE_AXES(T, S, 3)
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)
template int64_t folding_workspace<float>(const Lattice&, int64_t);
template int64_t folding_workspace<double>(const Lattice&, int64_t);

}  // namespace medadv::cuda
