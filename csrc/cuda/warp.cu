#include "cuda/warp_launch.cuh"

namespace medadv::cuda {
namespace {

// Warps by a dense displacement: voxel(image, at, z, y, x, displacement) at every voxel.
template <typename T, typename D, int kAxes, typename Voxel>
struct DenseWarp {
  DenseDisplacement<T, D, kAxes> displacement;
  Voxel voxel;

  __device__ __forceinline__ void operator()(unsigned image, int32_t z, int32_t y, int32_t x) const {
    const Sampling& s = voxel.s;
    const int64_t at = z * s.plane() + int64_t(y) * s.x + x;
    T d[kAxes];
    displacement(s, image, at, d);
    voxel(image, at, z, y, x, d);
  }
};

template <typename T, int kAxes, typename D, typename Voxel>
cudaError_t at_voxels(const D* displacement, const Voxel& voxel, cudaStream_t stream) {
  const Sampling& s = voxel.s;
  return for_each(DenseWarp<T, D, kAxes, Voxel>{{displacement}, voxel}, s.images * s.z, s.z, s.y, s.x, stream);
}

}  // namespace

template <typename T, typename D, typename S>
cudaError_t warp(const Sampling& s, const S* image, const D* displacement, S* out, cudaStream_t stream) {
  if constexpr (std::is_integral_v<S>) {
    constexpr Interpolation nearest = Interpolation::nearest;
    if (s.axes == 3) return at_voxels<T, 3>(displacement, WarpVoxel<T, S, nearest, 3>{s, image, out}, stream);
    return at_voxels<T, 2>(displacement, WarpVoxel<T, S, nearest, 2>{s, image, out}, stream);
  } else {
    return choose(s, [&](auto kind, auto axes) {
      return at_voxels<T, axes>(displacement, WarpVoxel<T, S, kind, axes>{s, image, out}, stream);
    });
  }
}

template <typename T, typename S>
cudaError_t warp_backward(const Sampling& s, const S* grad, const S* image, const S* displacement, S* grad_image,
                          S* grad_displacement, T* workspace, cudaStream_t stream) {
  return sum_images<T>(s, grad_image, workspace, stream, [&](T* sum) {
    return choose(s, [&](auto kind, auto axes) {
      using Gradient = WarpGradient<T, S, S, kind, axes, AtomicImage<T>>;
      return at_voxels<T, axes>(displacement, Gradient{s, grad, image, grad_displacement, {sum}}, stream);
    });
  });
}

#define MEDADV_INSTANTIATE(T, S)                                                                              \
  template cudaError_t warp<T, S, S>(const Sampling&, const S*, const S*, S*, cudaStream_t);                  \
  template cudaError_t warp_backward<T, S>(const Sampling&, const S*, const S*, const S*, S*, S*, T*, cudaStream_t);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

#define MEDADV_INSTANTIATE_LABELS(S) \
  template cudaError_t warp<float, float, S>(const Sampling&, const S*, const float*, S*, cudaStream_t);
MEDADV_INSTANTIATE_LABELS(int8_t)
MEDADV_INSTANTIATE_LABELS(int16_t)
MEDADV_INSTANTIATE_LABELS(int32_t)
MEDADV_INSTANTIATE_LABELS(int64_t)

}  // namespace medadv::cuda
