// Every CPU kernel behind one interface, which the operators of torch/ are written over.
//
// Threads is the way ranges of blocks are handed out: torch's own threads (torch/cpu_ops.cpp), or those of the NumPy
// door (python/threads.h). It is made from a tensor, once per call, and has
//   parallel_for(count, grain, run): calls run(first, last) for ranges that cover [0, count) once, about `grain` or
//   more at a time.
// Blocks depend on the geometry alone, so the bits of a result do not depend on who hands them out.
#pragma once

#include <algorithm>

#include "cpu/bias_field.h"
#include "cpu/dense_energy.h"
#include "cpu/gaussian_blur.h"
#include "cpu/jacobian.h"
#include "cpu/lattice_energy.h"
#include "cpu/noise.h"
#include "cpu/polynomial_bias_field.h"
#include "cpu/row_length.h"
#include "cpu/spline_field.h"
#include "cpu/spline_jacobian.h"
#include "cpu/spline_warp.h"
#include "cpu/transform_chain.h"
#include "cpu/warp.h"

namespace medadv::cpu {

// Blocks of roughly this many voxels are worth a thread.
constexpr int64_t kGrainVoxels = 1 << 15;

inline int64_t grain(int64_t voxels, int64_t blocks) {
  return std::max<int64_t>(1, kGrainVoxels / std::max<int64_t>(1, voxels / std::max<int64_t>(1, blocks)));
}

template <typename Threads, typename Kernel>
void run_blocks(const Threads& threads, Kernel& kernel, int64_t voxels) {
  threads.parallel_for(kernel.blocks(), grain(voxels, kernel.blocks()),
                       [&](int64_t first, int64_t last) { kernel.run(first, last); });
}

template <typename Threads, typename Kernel>
void run_adjoint(const Threads& threads, Kernel& kernel, int64_t voxels) {
  run_blocks(threads, kernel, voxels);
  threads.parallel_for(kernel.planes(), grain(voxels / 16, kernel.planes()),
                       [&](int64_t first, int64_t last) { kernel.gather(first, last); });
}

template <typename Threads>
struct Backend {
  using Scope = Threads;

  template <typename T, typename S>
  static void bias_field(const Scope& threads, const Lattice& g, Channels channels, const S* x, const S* c, S* out) {
    BiasField<T, S> kernel(g, channels, x, c, out);
    run_blocks(threads, kernel, channels.count * g.voxels());
  }

  template <typename T, typename S>
  static void bias_field_backward(const Scope& threads, const Lattice& g, Channels channels, const S* grad, const S* x,
                                  const S* c, S* grad_x, S* grad_c) {
    BiasFieldBackward<T, S> kernel(g, channels, grad, x, c, grad_x, grad_c);
    run_adjoint(threads, kernel, channels.count * g.voxels());
  }

  template <typename T, typename S>
  static void bias_field_lattice_backward(const Scope& threads, const Lattice& g, Channels channels, const S* grad,
                                          const S* out, S* grad_c) {
    BiasFieldLatticeBackward<T, S> kernel(g, channels, grad, out, grad_c);
    run_adjoint(threads, kernel, channels.count * g.voxels());
  }

  template <typename T, typename S>
  static void spline_field(const Scope& threads, const Lattice& g, int64_t channels, const S* c, S* out) {
    SplineField<T, S> kernel(g, channels, c, out);
    run_blocks(threads, kernel, channels * g.voxels());
  }

  template <typename T, typename S>
  static void spline_field_adjoint(const Scope& threads, const Lattice& g, int64_t channels, const S* grad, S* grad_c) {
    SplineFieldAdjoint<T, S> kernel(g, channels, grad, grad_c);
    run_adjoint(threads, kernel, channels * g.voxels());
  }

  template <typename T, typename S>
  static void gaussian_blur(const Scope& threads, const Volume& size, int64_t channels, const double* sigma,
                            BlurPadding padding, double truncate, bool adjoint, const S* in, S* out) {
    const GaussianBlur<T, S> kernel(size, channels, sigma, padding, truncate, adjoint, in, out);
    run_blocks(threads, kernel, channels * size.voxels());
  }

  template <typename S>
  static void lattice_energy(const Scope& threads, LatticeEnergy kind, const Lattice& g, const double* spacing,
                             int64_t channels, const S* c, double* energy, S* gradient) {
    const LatticeEnergyKernel<S> kernel(kind, g, spacing, c, energy, gradient);
    threads.parallel_for(channels, grain(channels * g.knots() * 16, channels),
                         [&](int64_t first, int64_t last) { kernel.run(first, last); });
  }

  template <typename Voxel>
  static void noise(const Scope& threads, int64_t count, const Voxel& voxel) {
    const NoiseKernel<Voxel> kernel(count, voxel);
    run_blocks(threads, kernel, count);
  }

  // Writes the clipped noise of rows, and the Euclidean length of each.
  template <typename S>
  static void clipped_rows(const Scope& threads, int64_t rows, int64_t entries, const ClippedNoise<S>& voxel,
                           double* lengths) {
    ClippedRows<S> kernel(RowPieces(rows, entries), voxel);
    run_blocks(threads, kernel, rows * entries);
    kernel.gather(lengths);
  }

  // Writes the noise of rows after a step, and the Euclidean length of each unless that is null.
  template <typename S>
  static void unit_step(const Scope& threads, int64_t rows, int64_t entries, const UnitStep<S>& voxel,
                        double* lengths) {
    UnitStepRows<S> kernel(RowPieces(rows, entries), voxel, lengths != nullptr);
    run_blocks(threads, kernel, rows * entries);
    if (lengths) kernel.gather(lengths);
  }

  template <RowNorm kNorm, typename S>
  static void row_lengths(const Scope& threads, int64_t rows, int64_t entries, const S* x, const S* origin,
                          double* lengths) {
    RowLengths<S, kNorm> kernel(RowPieces(rows, entries), x, origin);
    run_blocks(threads, kernel, rows * entries);
    kernel.gather(lengths);
  }

  template <typename S, typename Factor>
  static void scaled_rows(const Scope& threads, int64_t rows, int64_t entries, const double* lengths,
                          const Factor& factor, const S* x, S* out) {
    const ScaledRows<S, Factor> kernel(RowPieces(rows, entries), lengths, factor, x, out);
    run_blocks(threads, kernel, rows * entries);
  }

  template <typename T, typename S>
  static void dense_energy(const Scope& threads, DenseEnergy kind, const Volume& size, int64_t channels,
                           const double* voxel_size, const S* u, double* energy) {
    DenseEnergySum<T, S> kernel(kind, size, channels, voxel_size, u);
    run_blocks(threads, kernel, channels * size.voxels());
    kernel.gather(energy);
  }

  template <typename T, typename S>
  static void dense_energy_gradient(const Scope& threads, DenseEnergy kind, const Volume& size, int64_t channels,
                                    const double* voxel_size, const double* scale, const S* u, S* gradient) {
    const DenseEnergyGradient<T, S> kernel(kind, size, channels, voxel_size, scale, u, gradient);
    run_blocks(threads, kernel, channels * size.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void jacobian_determinant(const Scope& threads, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                                   S* out) {
    const JacobianDeterminant<T, S, kAxes> kernel(stencil, examples, out);
    run_blocks(threads, kernel, kAxes * examples * stencil.size.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void folding_penalty(const Scope& threads, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                              double threshold, double* penalty) {
    FoldingPenalty<T, S, kAxes> kernel(stencil, examples, threshold);
    run_blocks(threads, kernel, kAxes * examples * stencil.size.voxels());
    kernel.gather(penalty);
  }

  template <typename T, typename S, int kAxes, typename Force>
  static void jacobian_gradient(const Scope& threads, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                                const Force& force, S* gradient) {
    const JacobianGradient<T, S, kAxes, Force> kernel(stencil, examples, force, gradient);
    run_blocks(threads, kernel, kAxes * examples * stencil.size.voxels());
  }

  template <typename T, typename D, typename S>
  static void warp(const Scope& threads, const Sampling& s, const S* x, const D* displacement, S* out) {
    const Warp<T, D, S> kernel(s, x, displacement, out);
    run_blocks(threads, kernel, s.images * s.channels * s.voxels());
  }

  template <typename T, typename S>
  static void warp_backward(const Scope& threads, const Sampling& s, const S* grad, const S* x, const S* displacement,
                            S* grad_x, S* grad_displacement) {
    const WarpBackward<T, S> kernel(s, grad, x, displacement, grad_x, grad_displacement);
    run_blocks(threads, kernel, s.images * s.channels * s.voxels());
  }

  template <typename T, typename D, typename S>
  static void spline_warp(const Scope& threads, const Sampling& s, const Lattice& g, const S* x, const D* c, S* out) {
    const SplineWarp<T, D, S> kernel(s, g, x, c, out);
    run_blocks(threads, kernel, s.images * s.channels * s.voxels());
  }

  template <typename T, typename S>
  static void spline_warp_backward(const Scope& threads, const Sampling& s, const Lattice& g, const S* grad, const S* x,
                                   const S* c, S* grad_x, S* grad_c) {
    SplineWarpBackward<T, S> kernel(s, g, grad, x, c, grad_x, grad_c);
    const int64_t voxels = s.images * s.channels * s.voxels();
    grad_c ? run_adjoint(threads, kernel, voxels) : run_blocks(threads, kernel, voxels);
  }

  template <typename T, typename S>
  static void transform_chain(const Scope& threads, const Chain<T, S>& chain, S* out) {
    const TransformChain<T, S> kernel(chain, out);
    run_blocks(threads, kernel, chain.s.images * chain.s.channels * chain.s.voxels());
  }

  template <typename T, typename S>
  static void transform_chain_backward(const Scope& threads, const Chain<T, S>& chain, const S* grad,
                                       const ChainGradients<S>& gradients) {
    TransformChainBackward<T, S> kernel(chain, grad, gradients);
    run_adjoint(threads, kernel, chain.s.images * chain.s.channels * chain.s.voxels());
  }

  template <typename T, typename S>
  static void polynomial_bias_field(const Scope& threads, const PolynomialBias<T>& bias, const S* x, const S* a,
                                    S* out) {
    const PolynomialBiasField<T, S> kernel(bias, x, a, out);
    run_blocks(threads, kernel, bias.examples * bias.channels * bias.size().voxels());
  }

  template <typename T, typename S>
  static void polynomial_bias_field_backward(const Scope& threads, const PolynomialBias<T>& bias, const S* grad,
                                             const S* x, const S* a, S* grad_x, S* grad_a, T* grad_weights) {
    PolynomialBiasFieldBackward<T, S> kernel(bias, grad, x, a, grad_x, grad_a, grad_weights);
    run_adjoint(threads, kernel, bias.examples * bias.channels * bias.size().voxels());
  }

  template <typename T, typename S, int kAxes>
  static void spline_jacobian_determinant(const Scope& threads, const SplineSlopes<kAxes>& slopes, int64_t examples,
                                          const S* c, S* out) {
    const SplineJacobianDeterminant<T, S, kAxes> kernel(slopes, examples, c, out);
    run_blocks(threads, kernel, kAxes * examples * slopes.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void spline_jacobian_gradient(const Scope& threads, const SplineSlopes<kAxes>& slopes, int64_t examples,
                                       const S* grad, const S* c, S* gradient) {
    SplineJacobianGradient<T, S, kAxes> kernel(slopes, examples, grad, c, gradient);
    run_adjoint(threads, kernel, kAxes * examples * slopes.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void spline_folding_penalty(const Scope& threads, const SplineSlopes<kAxes>& slopes, int64_t examples,
                                     double threshold, const S* c, double* penalty, T* gradient) {
    SplineFoldingPenalty<T, S, kAxes> kernel(slopes, examples, threshold, c, gradient);
    const int64_t voxels = kAxes * examples * slopes.voxels();
    gradient ? run_adjoint(threads, kernel, voxels) : run_blocks(threads, kernel, voxels);
    kernel.total(penalty);
  }
};

}  // namespace medadv::cpu
