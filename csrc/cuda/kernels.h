// What the CUDA library computes: plain pointers and a stream, no torch types. Every function returns the
// launch's error. Workspaces are the caller's; their sizes come from the functions beside them.
#pragma once

#include <cuda_runtime_api.h>

#include "core/bending_energy.h"
#include "core/bias_field.h"
#include "core/spline_tile.h"
#include "core/warp.h"

namespace medadv::cuda {

// Partial sums of a gradient to a lattice, in numbers of T; 0 where none are needed.
template <typename T>
int64_t adjoint_workspace(const Lattice& g, int64_t channels) {
  const Tiling<T> tiling(g);
  return tiling.fits() ? tiling.partials(channels * g.z.size) : 0;
}

template <typename T, typename S>
cudaError_t spline_field(const Lattice& g, int64_t channels, const S* c, S* out, cudaStream_t stream);

template <typename T, typename S>
cudaError_t spline_field_adjoint(const Lattice& g, int64_t channels, const S* grad, S* grad_c, T* workspace,
                                 cudaStream_t stream);

template <typename T, typename S>
cudaError_t bias_field(const Lattice& g, Channels channels, const S* image, const S* c, S* out, cudaStream_t stream);

template <typename T, typename S>
cudaError_t bias_field_backward(const Lattice& g, Channels channels, const S* grad, const S* image, const S* c,
                                S* grad_image, S* grad_c, T* workspace, cudaStream_t stream);

template <typename T, typename S>
cudaError_t bias_field_lattice_backward(const Lattice& g, Channels channels, const S* grad, const S* out, S* grad_c,
                                        T* workspace, cudaStream_t stream);

// Workspace: one float64 per row of control points.
inline int64_t bending_workspace(const Lattice& g, int64_t channels) {
  return channels * g.z.knots * int64_t(g.y.knots);
}

template <typename S>
cudaError_t bending_energy(const Lattice& g, const double* length, int64_t channels, const S* c, double* energy,
                           S* gradient, double* workspace, cudaStream_t stream);

template <typename T, typename D, typename S>
cudaError_t warp(const Sampling& s, const S* image, const D* displacement, S* out, cudaStream_t stream);

// Sums of the half types' gradients to images, in numbers of T: 0 where those are summed in place.
template <typename T, typename S>
int64_t image_workspace(const Sampling& s, const S* grad_image) {
  return sizeof(T) == sizeof(S) || !grad_image ? 0 : s.images * s.channels * s.voxels();
}

// Gradients where the pointers are not null; that to the image starts as zeros.
template <typename T, typename S>
cudaError_t warp_backward(const Sampling& s, const S* grad, const S* image, const S* displacement, S* grad_image,
                          S* grad_displacement, T* workspace, cudaStream_t stream);

template <typename T, typename D, typename S>
cudaError_t spline_warp(const Sampling& s, const Lattice& g, const S* image, const D* c, S* out, cudaStream_t stream);

// Images whose forces on their lattices are in memory at a time: one, or as many as make up 64 MB of float32.
inline int64_t images_at_a_time(const Sampling& s) {
  const int64_t forces = s.axes * s.voxels(), fit = (int64_t(1) << 24) / (forces ? forces : 1);
  return fit < 1 ? 1 : fit < s.images ? fit : s.images;
}

// images: image_workspace; forces: axes * voxels of images_at_a_time; partials: adjoint_workspace of those axes.
template <typename T>
struct SplineWarpWorkspace {
  T *images, *forces, *partials;
};

template <typename T, typename S>
cudaError_t spline_warp_backward(const Sampling& s, const Lattice& g, const S* grad, const S* image, const S* c,
                                 S* grad_image, S* grad_c, const SplineWarpWorkspace<T>& workspace,
                                 cudaStream_t stream);

}  // namespace medadv::cuda
