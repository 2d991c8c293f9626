#include "cuda/spline_launch.cuh"

namespace medadv::cuda {

template <typename T, typename S>
cudaError_t bias_field(const Lattice& g, Channels channels, const S* image, const S* c, S* out, cudaStream_t stream) {
  const BiasVoxel<T, S> voxel{image, out, quads_aligned(g.x.size, image, out)};
  return spline_forward<T>(g, channels, c, voxel, stream);
}

// On a lattice too fine for tiles the image's gradient comes first, as the same operator; the force follows
// from it.
template <typename T, typename S>
cudaError_t bias_field_backward(const Lattice& g, Channels channels, const S* grad, const S* image, const S* c,
                                S* grad_image, S* grad_c, T* workspace, cudaStream_t stream) {
  const Tiling<T> tiling(g);
  if (tiling.fits()) {
    const BiasForce<T, S> force{grad, image, grad_image, quads_aligned(g.x.size, grad, image, grad_image)};
    return tile_backward(tiling, channels, c, force, grad_c, workspace, stream);
  }
  if (const cudaError_t error = bias_field<T>(g, channels, grad, c, grad_image, stream); error != cudaSuccess)
    return error;
  return fine_backward<T>(g, channels, OutputForce<T, S>{grad_image, image}, grad_c, stream);
}

template <typename T, typename S>
cudaError_t bias_field_lattice_backward(const Lattice& g, Channels channels, const S* grad, const S* out, S* grad_c,
                                        T* workspace, cudaStream_t stream) {
  const OutputForce<T, S> force{grad, out, quads_aligned(g.x.size, grad, out)};
  return spline_backward<T>(g, channels, force, grad_c, workspace, stream);
}

#define MEDADV_INSTANTIATE(T, S)                                                                                 \
  template cudaError_t bias_field<T, S>(const Lattice&, Channels, const S*, const S*, S*, cudaStream_t);         \
  template cudaError_t bias_field_backward<T, S>(const Lattice&, Channels, const S*, const S*, const S*, S*, S*, \
                                                 T*, cudaStream_t);                                              \
  template cudaError_t bias_field_lattice_backward<T, S>(const Lattice&, Channels, const S*, const S*, S*, T*,   \
                                                         cudaStream_t);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

}  // namespace medadv::cuda
