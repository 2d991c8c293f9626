#include "cuda/energy_launch.cuh"
#include "cuda/spline_launch.cuh"

namespace medadv::cuda {
namespace {

// Calls f with the stencil of a kind.
template <typename T, typename S, typename F>
cudaError_t with_stencil(DenseEnergy kind, const Volume& size, const double* voxel_size, const S* u, const F& f) {
  const DenseWeights<T> w = dense_weights<T>(kind, voxel_size);
  switch (kind) {
    case DenseEnergy::membrane: return f(DenseStencil<T, S, DenseEnergy::membrane>{size, w, u});
    case DenseEnergy::total_variation: return f(DenseStencil<T, S, DenseEnergy::total_variation>{size, w, u});
    case DenseEnergy::bending: return f(DenseStencil<T, S, DenseEnergy::bending>{size, w, u});
  }
  return cudaErrorInvalidValue;
}

template <typename T, typename S, DenseEnergy kKind>
DenseEnergyVoxel<T, S, kKind> energy_of(const DenseStencil<T, S, kKind>& stencil) {
  return {stencil};
}

template <typename T, typename S, DenseEnergy kKind>
DenseGradientVoxel<T, S, kKind> gradient_of(const DenseStencil<T, S, kKind>& stencil, const double* scale, S* out) {
  return {stencil, scale, out};
}

}  // namespace

int64_t energy_workspace(const Volume& size, int64_t count) { return EnergyTiling(size).partials(count * size.z); }

template <typename T, typename S>
cudaError_t dense_energy(DenseEnergy kind, const Volume& size, int64_t channels, const double* voxel_size, const S* u,
                         double* energy, double* workspace, cudaStream_t stream) {
  return with_stencil<T>(kind, size, voxel_size, u, [&](const auto& stencil) {
    return sum_energy(energy_of(stencil), channels, size, 1, energy, workspace, stream);
  });
}

template <typename T, typename S>
cudaError_t dense_energy_gradient(DenseEnergy kind, const Volume& size, int64_t channels, const double* voxel_size,
                                  const double* scale, const S* u, S* gradient, cudaStream_t stream) {
  return with_stencil<T>(kind, size, voxel_size, u, [&](const auto& stencil) {
    return for_each(gradient_of(stencil, scale, gradient), channels * size.z, size.z, size.y, size.x, stream);
  });
}

#define MEDADV_INSTANTIATE(T, S)                                                                                   \
  template cudaError_t dense_energy<T, S>(DenseEnergy, const Volume&, int64_t, const double*, const S*, double*,     \
                                          double*, cudaStream_t);                                                  \
  template cudaError_t dense_energy_gradient<T, S>(DenseEnergy, const Volume&, int64_t, const double*, const double*, \
                                                   const S*, S*, cudaStream_t);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

}  // namespace medadv::cuda
