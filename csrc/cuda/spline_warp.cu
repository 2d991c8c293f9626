#include "cuda/warp_launch.cuh"

namespace medadv::cuda {
namespace {

// Per multiprocessor; see kTileBlocks.
template <typename T>
constexpr int kWarpBlocks = sizeof(T) == 8 ? 1 : 2;

template <typename T, typename D, int kAxes, typename Voxel>
__global__ void __launch_bounds__(kTileThreads, kWarpBlocks<T>)
    tile_warp_kernel(const __grid_constant__ Tiling<T> tiling, unsigned planes, const D* c,
                     const __grid_constant__ Voxel voxel) {
  __shared__ TileWarp<T, kAxes> shared;
  const unsigned depth = unsigned(tiling.g.z.size);
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < tiling.y; y += int32_t(gridDim.y)) {
      const unsigned image = plane / depth;
      shared.run(CudaTeam<kTileThreads>{}, tiling, TileIndex{plane, y, int32_t(blockIdx.x)}, image,
                 int32_t(plane - image * depth), c + int64_t(image) * kAxes * tiling.g.knots(), voxel);
    }
}

template <typename T, int kAxes, typename D, typename Voxel>
cudaError_t at_voxels(const Lattice& g, const D* c, const Voxel& voxel, cudaStream_t stream) {
  const Tiling<T> tiling(g);
  const int64_t planes = voxel.s.images * g.z.size;
  const dim3 grid(unsigned(tiling.x), grid_axis(tiling.y), grid_axis(planes));
  tile_warp_kernel<T, D, kAxes><<<grid, kTileThreads, 0, stream>>>(tiling, unsigned(planes), c, voxel);
  return cudaGetLastError();
}

}  // namespace

template <typename T, typename D, typename S>
cudaError_t spline_warp(const Sampling& s, const Lattice& g, const S* image, const D* c, S* out,
                        cudaStream_t stream) {
  if constexpr (std::is_integral_v<S>) {
    constexpr Interpolation nearest = Interpolation::nearest;
    if (s.axes == 3) return at_voxels<T, 3>(g, c, WarpVoxel<T, S, nearest, 3>{s, image, out}, stream);
    return at_voxels<T, 2>(g, c, WarpVoxel<T, S, nearest, 2>{s, image, out}, stream);
  } else {
    return choose(s, [&](auto kind, auto axes) {
      return at_voxels<T, axes>(g, c, WarpVoxel<T, S, kind, axes>{s, image, out}, stream);
    });
  }
}

// Some images at a time: their forces on the lattice to the workspace, then the adjoint of the field.
template <typename T, typename S>
cudaError_t spline_warp_backward(const Sampling& s, const Lattice& g, const S* grad, const S* image, const S* c,
                                 S* grad_image, S* grad_c, const SplineWarpWorkspace<T>& workspace,
                                 cudaStream_t stream) {
  return sum_images<T>(s, grad_image, workspace.images, stream, [&](T* sum) {
    const int64_t step = grad_c ? images_at_a_time(s, s.axes) : s.images;
    for (int64_t first = 0; first < s.images; first += step) {
      Sampling some = s;
      some.images = first + step < s.images ? step : s.images - first;
      const int64_t at = first * s.channels * s.voxels(), knots = first * s.axes * g.knots();
      const cudaError_t error = choose(s, [&](auto kind, auto axes) {
        using Gradient = WarpGradient<T, S, T, kind, axes, AtomicImage<T>>;
        const Gradient gradient{some, grad + at, image + at, grad_c ? workspace.forces : nullptr,
                                {sum ? sum + at : nullptr}};
        return at_voxels<T, axes>(g, c + knots, gradient, stream);
      });
      if (error != cudaSuccess) return error;
      if (!grad_c) continue;
      const FieldForce<T, T> force{workspace.forces, quads_aligned(g.x.size, workspace.forces)};
      const cudaError_t adjoint = spline_backward<T>(g, {some.images * s.axes, 1}, force, grad_c + knots,
                                                     workspace.partials, stream);
      if (adjoint != cudaSuccess) return adjoint;
    }
    return cudaSuccess;
  });
}

#define MEDADV_INSTANTIATE(T, S)                                                                                     \
  template cudaError_t spline_warp<T, S, S>(const Sampling&, const Lattice&, const S*, const S*, S*, cudaStream_t);  \
  template cudaError_t spline_warp_backward<T, S>(const Sampling&, const Lattice&, const S*, const S*, const S*, S*, \
                                                  S*, const SplineWarpWorkspace<T>&, cudaStream_t);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

#define MEDADV_INSTANTIATE_LABELS(S)                                                                                \
  template cudaError_t spline_warp<float, float, S>(const Sampling&, const Lattice&, const S*, const float*, S*, \
                                                    cudaStream_t);
MEDADV_INSTANTIATE_LABELS(int8_t)
MEDADV_INSTANTIATE_LABELS(int16_t)
MEDADV_INSTANTIATE_LABELS(int32_t)
MEDADV_INSTANTIATE_LABELS(int64_t)

}  // namespace medadv::cuda
