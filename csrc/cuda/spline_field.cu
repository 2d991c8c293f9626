#include "cuda/spline_launch.cuh"

namespace medadv::cuda {

template <typename T, typename S>
cudaError_t spline_field(const Lattice& g, int64_t channels, const S* c, S* out, cudaStream_t stream) {
  return spline_forward<T>(g, {channels, 1}, c, FieldVoxel<T, S>{out, quads_aligned(g.x.size, out)}, stream);
}

template <typename T, typename S>
cudaError_t spline_field_adjoint(const Lattice& g, int64_t channels, const S* grad, S* grad_c, T* workspace,
                                 cudaStream_t stream) {
  const FieldForce<T, S> force{grad, quads_aligned(g.x.size, grad)};
  return spline_backward<T>(g, {channels, 1}, force, grad_c, workspace, stream);
}

#define MEDADV_INSTANTIATE(T, S)                                                                           \
  template cudaError_t spline_field<T, S>(const Lattice&, int64_t, const S*, S*, cudaStream_t);            \
  template cudaError_t spline_field_adjoint<T, S>(const Lattice&, int64_t, const S*, S*, T*, cudaStream_t);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

}  // namespace medadv::cuda
