// The CPU backend: ranges of blocks handed to torch's own threads.
#include "cpu/bias_field.h"
#include "cpu/dense_energy.h"
#include "cpu/gaussian_blur.h"
#include "cpu/jacobian.h"
#include "cpu/lattice_energy.h"
#include "cpu/spline_field.h"
#include "cpu/spline_jacobian.h"
#include "cpu/spline_warp.h"
#include "cpu/warp.h"
#include "torch/register.h"

namespace medadv {
namespace {

// Blocks of roughly this many voxels are worth a thread.
constexpr int64_t kGrainVoxels = 1 << 15;

int64_t grain(int64_t voxels, int64_t blocks) {
  return std::max<int64_t>(1, kGrainVoxels / std::max<int64_t>(1, voxels / std::max<int64_t>(1, blocks)));
}

template <typename Kernel>
void run_blocks(Kernel& kernel, int64_t voxels) {
  torch::stable::parallel_for(0, kernel.blocks(), grain(voxels, kernel.blocks()),
                              [&](int64_t first, int64_t last) { kernel.run(first, last); });
}

template <typename Kernel>
void run_adjoint(Kernel& kernel, int64_t voxels) {
  run_blocks(kernel, voxels);
  torch::stable::parallel_for(0, kernel.planes(), grain(voxels / 16, kernel.planes()),
                              [&](int64_t first, int64_t last) { kernel.gather(first, last); });
}

struct Cpu {
  struct Scope {
    explicit Scope(const Tensor&) {}
  };

  template <typename T, typename S>
  static void bias_field(const Scope&, const Lattice& g, Channels channels, const S* x, const S* c, S* out) {
    cpu::BiasField<T, S> kernel(g, channels, x, c, out);
    run_blocks(kernel, channels.count * g.voxels());
  }

  template <typename T, typename S>
  static void bias_field_backward(const Scope&, const Lattice& g, Channels channels, const S* grad, const S* x,
                                  const S* c, S* grad_x, S* grad_c) {
    cpu::BiasFieldBackward<T, S> kernel(g, channels, grad, x, c, grad_x, grad_c);
    run_adjoint(kernel, channels.count * g.voxels());
  }

  template <typename T, typename S>
  static void bias_field_lattice_backward(const Scope&, const Lattice& g, Channels channels, const S* grad,
                                          const S* out, S* grad_c) {
    cpu::BiasFieldLatticeBackward<T, S> kernel(g, channels, grad, out, grad_c);
    run_adjoint(kernel, channels.count * g.voxels());
  }

  template <typename T, typename S>
  static void spline_field(const Scope&, const Lattice& g, int64_t channels, const S* c, S* out) {
    cpu::SplineField<T, S> kernel(g, channels, c, out);
    run_blocks(kernel, channels * g.voxels());
  }

  template <typename T, typename S>
  static void spline_field_adjoint(const Scope&, const Lattice& g, int64_t channels, const S* grad, S* grad_c) {
    cpu::SplineFieldAdjoint<T, S> kernel(g, channels, grad, grad_c);
    run_adjoint(kernel, channels * g.voxels());
  }

  template <typename T, typename S>
  static void gaussian_blur(const Scope&, const Volume& size, int64_t channels, const double* sigma, BlurPadding padding,
                            double truncate, bool adjoint, const S* in, S* out) {
    const cpu::GaussianBlur<T, S> kernel(size, channels, sigma, padding, truncate, adjoint, in, out);
    run_blocks(kernel, channels * size.voxels());
  }

  template <typename S>
  static void lattice_energy(const Scope&, LatticeEnergy kind, const Lattice& g, const double* spacing,
                             int64_t channels, const S* c, double* energy, S* gradient) {
    const cpu::LatticeEnergyKernel<S> kernel(kind, g, spacing, c, energy, gradient);
    torch::stable::parallel_for(0, channels, grain(channels * g.knots() * 16, channels),
                                [&](int64_t first, int64_t last) { kernel.run(first, last); });
  }

  template <typename T, typename S>
  static void dense_energy(const Scope&, DenseEnergy kind, const Volume& size, int64_t channels,
                           const double* voxel_size, const S* u, double* energy) {
    cpu::DenseEnergySum<T, S> kernel(kind, size, channels, voxel_size, u);
    run_blocks(kernel, channels * size.voxels());
    kernel.gather(energy);
  }

  template <typename T, typename S>
  static void dense_energy_gradient(const Scope&, DenseEnergy kind, const Volume& size, int64_t channels,
                                    const double* voxel_size, const double* scale, const S* u, S* gradient) {
    const cpu::DenseEnergyGradient<T, S> kernel(kind, size, channels, voxel_size, scale, u, gradient);
    run_blocks(kernel, channels * size.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void jacobian_determinant(const Scope&, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                                   S* out) {
    const cpu::JacobianDeterminant<T, S, kAxes> kernel(stencil, examples, out);
    run_blocks(kernel, kAxes * examples * stencil.size.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void folding_penalty(const Scope&, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                              double threshold, double* penalty) {
    cpu::FoldingPenalty<T, S, kAxes> kernel(stencil, examples, threshold);
    run_blocks(kernel, kAxes * examples * stencil.size.voxels());
    kernel.gather(penalty);
  }

  template <typename T, typename S, int kAxes, typename Force>
  static void jacobian_gradient(const Scope&, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                                const Force& force, S* gradient) {
    const cpu::JacobianGradient<T, S, kAxes, Force> kernel(stencil, examples, force, gradient);
    run_blocks(kernel, kAxes * examples * stencil.size.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void spline_jacobian_determinant(const Scope&, const SplineSlopes<kAxes>& slopes, int64_t examples, const S* c,
                                          S* out) {
    const cpu::SplineJacobianDeterminant<T, S, kAxes> kernel(slopes, examples, c, out);
    run_blocks(kernel, kAxes * examples * slopes.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void spline_jacobian_gradient(const Scope&, const SplineSlopes<kAxes>& slopes, int64_t examples, const S* grad,
                                       const S* c, S* gradient) {
    cpu::SplineJacobianGradient<T, S, kAxes> kernel(slopes, examples, grad, c, gradient);
    run_adjoint(kernel, kAxes * examples * slopes.voxels());
  }

  template <typename T, typename S, int kAxes>
  static void spline_folding_penalty(const Scope&, const SplineSlopes<kAxes>& slopes, int64_t examples,
                                     double threshold, const S* c, double* penalty, T* gradient) {
    cpu::SplineFoldingPenalty<T, S, kAxes> kernel(slopes, examples, threshold, c, gradient);
    const int64_t voxels = kAxes * examples * slopes.voxels();
    gradient ? run_adjoint(kernel, voxels) : run_blocks(kernel, voxels);
    kernel.total(penalty);
  }

  template <typename T, typename D, typename S>
  static void warp(const Scope&, const Sampling& s, const S* x, const D* displacement, S* out) {
    const cpu::Warp<T, D, S> kernel(s, x, displacement, out);
    run_blocks(kernel, s.images * s.channels * s.voxels());
  }

  template <typename T, typename S>
  static void warp_backward(const Scope&, const Sampling& s, const S* grad, const S* x, const S* displacement,
                            S* grad_x, S* grad_displacement) {
    const cpu::WarpBackward<T, S> kernel(s, grad, x, displacement, grad_x, grad_displacement);
    run_blocks(kernel, s.images * s.channels * s.voxels());
  }

  template <typename T, typename D, typename S>
  static void spline_warp(const Scope&, const Sampling& s, const Lattice& g, const S* x, const D* c, S* out) {
    const cpu::SplineWarp<T, D, S> kernel(s, g, x, c, out);
    run_blocks(kernel, s.images * s.channels * s.voxels());
  }

  template <typename T, typename S>
  static void spline_warp_backward(const Scope&, const Sampling& s, const Lattice& g, const S* grad, const S* x,
                                   const S* c, S* grad_x, S* grad_c) {
    cpu::SplineWarpBackward<T, S> kernel(s, g, grad, x, c, grad_x, grad_c);
    const int64_t voxels = s.images * s.channels * s.voxels();
    grad_c ? run_adjoint(kernel, voxels) : run_blocks(kernel, voxels);
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(medadv, CPU, m) { register_operators<Cpu>(m); }

}  // namespace medadv
