#include "cuda/energy_launch.cuh"
#include "cuda/spline_launch.cuh"

namespace medadv::cuda {

template <typename T, typename S, int kAxes>
cudaError_t jacobian_determinant(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, S* out,
                                 cudaStream_t stream) {
  const Volume cells = stencil.cells();
  return for_each(DeterminantCell<T, S, kAxes>{stencil, out}, examples * cells.z, cells.z, cells.y, cells.x, stream);
}

template <typename T, typename S, int kAxes>
cudaError_t folding_penalty(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, double threshold,
                            double* penalty, double* workspace, cudaStream_t stream) {
  const Volume cells = stencil.cells();
  const FoldingCell<T, S, kAxes> cell{stencil, T(threshold)};
  return sum_energy(cell, examples, cells, 1.0 / double(cells.voxels()), penalty, workspace, stream);
}

template <typename T, typename S, int kAxes, typename Force>
cudaError_t jacobian_gradient(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, const Force& force,
                              S* gradient, cudaStream_t stream) {
  const Volume& size = stencil.size;
  return for_each(JacobianGradientVoxel<T, S, kAxes, Force>{stencil, force, gradient}, examples * size.z, size.z,
                  size.y, size.x, stream);
}

#define MEDADV_INSTANTIATE_AXES(T, S, kAxes)                                                                        \
  template cudaError_t jacobian_determinant(const JacobianStencil<T, S, kAxes>&, int64_t, S*, cudaStream_t);        \
  template cudaError_t folding_penalty(const JacobianStencil<T, S, kAxes>&, int64_t, double, double*, double*,      \
                                       cudaStream_t);                                                               \
  template cudaError_t jacobian_gradient(const JacobianStencil<T, S, kAxes>&, int64_t, const GivenForce<S>&, S*,    \
                                         cudaStream_t);                                                             \
  template cudaError_t jacobian_gradient(const JacobianStencil<T, S, kAxes>&, int64_t, const FoldingForce&, S*,     \
                                         cudaStream_t);
#define MEDADV_INSTANTIATE(T, S)     \
  MEDADV_INSTANTIATE_AXES(T, S, 2) \
  MEDADV_INSTANTIATE_AXES(T, S, 3)
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

}  // namespace medadv::cuda
