// What the CUDA library computes: plain pointers and a stream, no torch types. Every function returns the
// launch's error. Workspaces are the caller's; their sizes come from the functions beside them.
#pragma once

#include <cuda_runtime_api.h>

#include "core/dense_energy.h"
#include "core/bias_field.h"
#include "core/gaussian_blur.h"
#include "core/jacobian.h"
#include "core/lattice_energy.h"
#include "core/noise.h"
#include "core/polynomial_tile.h"
#include "core/row_length.h"
#include "core/spline_jacobian.h"
#include "core/spline_tile.h"
#include "core/transform_chain.h"
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

template <typename T, typename S>
cudaError_t polynomial_bias_field(const PolynomialBias<T>& bias, const S* image, const S* a, S* out,
                                  cudaStream_t stream);

// Partial sums of the tiles, in numbers of T.
template <typename T>
int64_t polynomial_workspace(const PolynomialBias<T>& bias, bool to_weights) {
  const bool still = bias.motion.warp == CoordinateWarp::none;
  const PolynomialTiling tiling(bias.size(), still ? kPolynomialWidth : kMovedThreads<T>);
  const int64_t sums = still ? bias.sets * bias.shape.plane_terms() : moved_sums(bias, to_weights);
  return bias.examples * bias.size().z * tiling.per_plane() * sums;
}

// Gradients to the coefficients and, where grad_weights is not null, to the weights of the motion, from the output.
template <typename T, typename S>
cudaError_t polynomial_parameters_backward(const PolynomialBias<T>& bias, const S* grad, const S* out, const S* a,
                                           S* grad_a, T* grad_weights, T* workspace, cudaStream_t stream);

// Workspace, in numbers of T: what the passes along the axes hand on, one image for every blurred axis but the last.
inline int64_t blur_workspace(const Volume& size, int64_t channels, const double* sigma) {
  const int passes = (sigma[0] != 0) + (sigma[1] != 0) + (sigma[2] != 0);
  return (passes > 1 ? passes - 1 : 0) * channels * size.voxels();
}

template <typename T, typename S>
cudaError_t gaussian_blur(const Volume& size, int64_t channels, const double* sigma, BlurPadding padding,
                          double truncate, bool adjoint, const S* in, S* out, T* workspace, cudaStream_t stream);

// Workspace: one float64 per row of control points.
inline int64_t lattice_energy_workspace(const Lattice& g, int64_t channels) {
  return channels * g.z.knots * int64_t(g.y.knots);
}

template <typename S>
cudaError_t lattice_energy(LatticeEnergy kind, const Lattice& g, const double* length, int64_t channels, const S* c,
                           double* energy, S* gradient, double* workspace, cudaStream_t stream);

// Workspace of a sum over the voxels of every one of `count` images: one float64 per block.
int64_t energy_workspace(const Volume& size, int64_t count);

template <typename Voxel>
cudaError_t noise(int64_t count, const Voxel& voxel, cudaStream_t stream);

template <typename S>
cudaError_t unit_step(int64_t rows, int64_t entries, const UnitStep<S>& voxel, cudaStream_t stream);

// Workspace of the lengths of rows: one number of 64 bits per piece of a row.
inline constexpr int64_t kRowPiece = 1 << 13;
inline int64_t row_pieces(int64_t entries) { return (entries + kRowPiece - 1) / kRowPiece; }

template <RowNorm kNorm, typename S>
cudaError_t row_lengths(int64_t rows, int64_t entries, const S* x, const S* origin, double* lengths, void* workspace,
                        cudaStream_t stream);

template <typename S, typename Factor>
cudaError_t scaled_rows(int64_t rows, int64_t entries, const double* lengths, const Factor& factor, const S* x, S* out,
                        cudaStream_t stream);

template <typename T, typename S>
cudaError_t dense_energy(DenseEnergy kind, const Volume& size, int64_t channels, const double* voxel_size, const S* u,
                         double* energy, double* workspace, cudaStream_t stream);

template <typename T, typename S>
cudaError_t dense_energy_gradient(DenseEnergy kind, const Volume& size, int64_t channels, const double* voxel_size,
                                  const double* scale, const S* u, S* gradient, cudaStream_t stream);

template <typename T, typename S, int kAxes>
cudaError_t jacobian_determinant(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, S* out,
                                 cudaStream_t stream);

template <typename T, typename S, int kAxes>
cudaError_t folding_penalty(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, double threshold,
                            double* penalty, double* workspace, cudaStream_t stream);

template <typename T, typename S, int kAxes, typename Force>
cudaError_t jacobian_gradient(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples, const Force& force,
                              S* gradient, cudaStream_t stream);

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

// Examples whose forces, as many numbers for each, are in memory at a time: one, or as many as make up 64 MB of
// float32.
inline int64_t images_at_a_time(int64_t images, int64_t forces) {
  const int64_t fit = (int64_t(1) << 24) / (forces ? forces : 1);
  return fit < 1 ? 1 : fit < images ? fit : images;
}
inline int64_t images_at_a_time(const Sampling& s, int64_t fields) {
  return images_at_a_time(s.images, fields * s.voxels());
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

template <typename T, typename S>
cudaError_t transform_chain(const Chain<T, S>& chain, S* out, cudaStream_t stream);

// Fields of an image on whose lattices there are forces.
template <typename T, typename S>
int64_t chain_fields(const Chain<T, S>& chain, const ChainGradients<S>& to) {
  return (to.displacement ? chain.s.axes : 0) + (to.log_gain ? chain.gains : 0);
}

// As above; partials: adjoint_workspace of the larger lattice.
template <typename T>
using ChainWorkspace = SplineWarpWorkspace<T>;

// Gradients where the pointers are not null; that to a displaced image starts as zeros.
template <typename T, typename S>
cudaError_t transform_chain_backward(const Chain<T, S>& chain, const S* grad, const ChainGradients<S>& to,
                                     const ChainWorkspace<T>& workspace, cudaStream_t stream);

template <typename T, typename S, int kAxes>
cudaError_t spline_jacobian_determinant(const SplineSlopes<kAxes>& slopes, int64_t examples, const S* c, S* out,
                                        cudaStream_t stream);

// forces: axes * voxels of images_at_a_time; along: for every axis, the lattices of those; partials: adjoint_workspace
// of those axes; tiles: folding_workspace.
template <typename T>
struct SlopeWorkspace {
  T *forces, *along, *partials;
  double* tiles;
};

template <typename T, typename S, int kAxes>
cudaError_t spline_jacobian_gradient(const SplineSlopes<kAxes>& slopes, int64_t examples, const S* grad, const S* c,
                                     S* gradient, const SlopeWorkspace<T>& workspace, cudaStream_t stream);

// Sums over the tiles of every example, one float64 each.
template <typename T>
int64_t folding_workspace(const Lattice& g, int64_t examples);

// The gradient is null where not wanted, and so are then all of the workspace but `tiles`.
template <typename T, typename S, int kAxes>
cudaError_t spline_folding_penalty(const SplineSlopes<kAxes>& slopes, int64_t examples, double threshold, const S* c,
                                   double* penalty, T* gradient, const SlopeWorkspace<T>& workspace,
                                   cudaStream_t stream);

}  // namespace medadv::cuda
