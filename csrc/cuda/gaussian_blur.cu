// One launch per blurred axis. A thread gathers its voxel's window from the nearest cache, coalesced along the
// width; its weights are kernel parameters.
#include "cuda/spline_launch.cuh"

namespace medadv::cuda {
namespace {

template <typename T, typename In, typename Out>
cudaError_t blur_axis(const Volume& size, int64_t channels, int32_t axis, double sigma, BlurPadding padding,
                      double truncate, bool adjoint, const In* in, Out* out, cudaStream_t stream) {
  const BlurVoxel<T, In, Out> voxel{gaussian_kernel<T>(sigma, truncate), padding, adjoint, axis, size, in, out};
  return for_each(voxel, channels * size.z, size.z, size.y, size.x, stream);
}

}  // namespace

template <typename T, typename S>
cudaError_t gaussian_blur(const Volume& size, int64_t channels, const double* sigma, BlurPadding padding,
                          double truncate, bool adjoint, const S* in, S* out, T* workspace, cudaStream_t stream) {
  int32_t axes[3], count = 0;
  for (int32_t axis = 0; axis < 3; ++axis)
    if (sigma[axis] != 0) axes[count++] = axis;
  const int64_t voxels = channels * size.voxels();
  if (count == 0) return cudaMemcpyAsync(out, in, sizeof(S) * voxels, cudaMemcpyDeviceToDevice, stream);
  const auto blur = [&](int32_t pass, auto* from, auto* to) {
    return blur_axis<T>(size, channels, axes[pass], sigma[axes[pass]], padding, truncate, adjoint, from, to, stream);
  };
  if (count == 1) return blur(0, in, out);
  T *first = workspace, *second = workspace + voxels;
  if (const cudaError_t error = blur(0, in, first); error != cudaSuccess) return error;
  if (count == 2) return blur(1, static_cast<const T*>(first), out);
  if (const cudaError_t error = blur(1, static_cast<const T*>(first), second); error != cudaSuccess) return error;
  return blur(2, static_cast<const T*>(second), out);
}

#define MEDADV_INSTANTIATE(T, S)                                                                             \
  template cudaError_t gaussian_blur<T, S>(const Volume&, int64_t, const double*, BlurPadding, double, bool, const S*, \
                                           S*, T*, cudaStream_t);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

}  // namespace medadv::cuda
