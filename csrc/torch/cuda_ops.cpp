// The CUDA backend: torch's current stream and device, workspaces from torch's allocator.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include "cuda/kernels.h"
#include "torch/register.h"

namespace medadv {
namespace {

// torch's half types as CUDA spells them; the bits are the same.
template <typename S>
struct DeviceType { using type = S; };
template <>
struct DeviceType<torch::headeronly::Half> { using type = __half; };
template <>
struct DeviceType<torch::headeronly::BFloat16> { using type = __nv_bfloat16; };

template <typename S>
const typename DeviceType<S>::type* device(const S* p) {
  return reinterpret_cast<const typename DeviceType<S>::type*>(p);
}
template <typename S>
typename DeviceType<S>::type* device(S* p) {
  return reinterpret_cast<typename DeviceType<S>::type*>(p);
}

template <typename T, typename S, int kAxes>
JacobianStencil<T, typename DeviceType<S>::type, kAxes> device(const JacobianStencil<T, S, kAxes>& s) {
  return {s.size, {s.inverse[0], s.inverse[1], s.inverse[2]}, device(s.u)};
}
template <typename S>
GivenForce<typename DeviceType<S>::type> device(const GivenForce<S>& force) {
  return {device(force.grad)};
}
FoldingForce device(const FoldingForce& force) { return force; }
template <typename T, typename S>
Chain<T, typename DeviceType<S>::type> device(const Chain<T, S>& c) {
  return {c.s,    c.motion, c.gain,          c.gains,                c.noises,           c.origin,       c.low, c.high,
          c.clips, device(c.image), device(c.displacement), device(c.log_gain), device(c.noise)};
}
template <typename S>
ChainGradients<typename DeviceType<S>::type> device(const ChainGradients<S>& to) {
  return {device(to.image), device(to.displacement), device(to.log_gain), device(to.noise)};
}

struct Cuda {
  class Scope {
   public:
    explicit Scope(const Tensor& tensor) : tensor_(tensor), guard_(tensor.get_device_index()) {
      void* handle = nullptr;
      TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &handle));
      stream = static_cast<cudaStream_t>(handle);
    }

    template <typename T>
    Tensor workspace(int64_t count) const {
      return make_empty(tensor_, {count},
                                      std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float);
    }

    cudaStream_t stream;

   private:
    Tensor tensor_;
    torch::stable::accelerator::DeviceGuard guard_;
  };

  template <typename T, typename S>
  static void bias_field(const Scope& scope, const Lattice& g, Channels channels, const S* x, const S* c, S* out) {
    STD_CUDA_CHECK((cuda::bias_field<T>(g, channels, device(x), device(c), device(out), scope.stream)));
  }

  template <typename T, typename S>
  static void bias_field_backward(const Scope& scope, const Lattice& g, Channels channels, const S* grad, const S* x,
                                  const S* c, S* grad_x, S* grad_c) {
    Tensor sums = scope.workspace<T>(cuda::adjoint_workspace<T>(g, channels.count));
    STD_CUDA_CHECK((cuda::bias_field_backward<T>(g, channels, device(grad), device(x), device(c), device(grad_x),
                                                 device(grad_c), sums.mutable_data_ptr<T>(), scope.stream)));
  }

  template <typename T, typename S>
  static void bias_field_lattice_backward(const Scope& scope, const Lattice& g, Channels channels, const S* grad,
                                          const S* out, S* grad_c) {
    Tensor sums = scope.workspace<T>(cuda::adjoint_workspace<T>(g, channels.count));
    STD_CUDA_CHECK((cuda::bias_field_lattice_backward<T>(g, channels, device(grad), device(out), device(grad_c),
                                                         sums.mutable_data_ptr<T>(), scope.stream)));
  }

  template <typename T, typename S>
  static void polynomial_bias_field(const Scope& scope, const PolynomialBias<T>& bias, const S* x, const S* a, S* out) {
    STD_CUDA_CHECK((cuda::polynomial_bias_field<T>(bias, device(x), device(a), device(out), scope.stream)));
  }

  // The image's gradient comes first, as the same operator; the forces follow from it as they do from the output.
  template <typename T, typename S>
  static void polynomial_bias_field_backward(const Scope& scope, const PolynomialBias<T>& bias, const S* grad,
                                             const S* x, const S* a, S* grad_x, S* grad_a, T* grad_weights) {
    if (grad_x) polynomial_bias_field<T, S>(scope, bias, grad, a, grad_x);
    Tensor sums = scope.workspace<T>(cuda::polynomial_workspace(bias, grad_weights != nullptr));
    STD_CUDA_CHECK((cuda::polynomial_parameters_backward<T>(bias, device(grad_x ? grad_x : grad), device(x), device(a),
                                                            device(grad_a), grad_weights, sums.mutable_data_ptr<T>(),
                                                            scope.stream)));
  }

  template <typename T, typename S>
  static void spline_field(const Scope& scope, const Lattice& g, int64_t channels, const S* c, S* out) {
    STD_CUDA_CHECK((cuda::spline_field<T>(g, channels, device(c), device(out), scope.stream)));
  }

  template <typename T, typename S>
  static void spline_field_adjoint(const Scope& scope, const Lattice& g, int64_t channels, const S* grad, S* grad_c) {
    Tensor sums = scope.workspace<T>(cuda::adjoint_workspace<T>(g, channels));
    STD_CUDA_CHECK((cuda::spline_field_adjoint<T>(g, channels, device(grad), device(grad_c),
                                                  sums.mutable_data_ptr<T>(), scope.stream)));
  }

  template <typename T, typename S>
  static void gaussian_blur(const Scope& scope, const Volume& size, int64_t channels, const double* sigma,
                            BlurPadding padding, double truncate, bool adjoint, const S* in, S* out) {
    Tensor passes = scope.workspace<T>(cuda::blur_workspace(size, channels, sigma));
    STD_CUDA_CHECK((cuda::gaussian_blur<T>(size, channels, sigma, padding, truncate, adjoint, device(in), device(out),
                                           passes.mutable_data_ptr<T>(), scope.stream)));
  }

  template <typename S>
  static void lattice_energy(const Scope& scope, LatticeEnergy kind, const Lattice& g, const double* spacing,
                             int64_t channels, const S* c, double* energy, S* gradient) {
    Tensor rows = scope.workspace<double>(cuda::lattice_energy_workspace(g, channels));
    STD_CUDA_CHECK(cuda::lattice_energy(kind, g, spacing, channels, device(c), energy, device(gradient),
                                        rows.mutable_data_ptr<double>(), scope.stream));
  }

  template <typename T, typename S>
  static void dense_energy(const Scope& scope, DenseEnergy kind, const Volume& size, int64_t channels,
                           const double* voxel_size, const S* u, double* energy) {
    Tensor blocks = scope.workspace<double>(cuda::energy_workspace(size, channels));
    STD_CUDA_CHECK((cuda::dense_energy<T>(kind, size, channels, voxel_size, device(u), energy,
                                          blocks.mutable_data_ptr<double>(), scope.stream)));
  }

  template <typename Voxel>
  static void noise(const Scope& scope, int64_t count, const Voxel& voxel) {
    STD_CUDA_CHECK(cuda::noise(count, voxel, scope.stream));
  }

  template <typename S>
  static void clipped_rows(const Scope& scope, int64_t rows, int64_t entries, const ClippedNoise<S>& voxel,
                           double* lengths) {
    noise(scope, rows * entries, voxel);
    row_lengths<RowNorm::l2, S>(scope, rows, entries, voxel.out, nullptr, lengths);
  }

  template <typename S>
  static void unit_step(const Scope& scope, int64_t rows, int64_t entries, const UnitStep<S>& voxel, double* lengths) {
    STD_CUDA_CHECK(cuda::unit_step(rows, entries, voxel, scope.stream));
    if (lengths) row_lengths<RowNorm::l2, S>(scope, rows, entries, voxel.out, nullptr, lengths);
  }

  template <RowNorm kNorm, typename S>
  static void row_lengths(const Scope& scope, int64_t rows, int64_t entries, const S* x, const S* origin,
                          double* lengths) {
    Tensor parts = scope.workspace<double>(rows * cuda::row_pieces(entries));
    STD_CUDA_CHECK(cuda::row_lengths<kNorm>(rows, entries, device(x), device(origin), lengths,
                                            parts.mutable_data_ptr<double>(), scope.stream));
  }

  template <typename S, typename Factor>
  static void scaled_rows(const Scope& scope, int64_t rows, int64_t entries, const double* lengths,
                          const Factor& factor, const S* x, S* out) {
    STD_CUDA_CHECK(cuda::scaled_rows(rows, entries, lengths, factor, device(x), device(out), scope.stream));
  }

  template <typename T, typename S>
  static void dense_energy_gradient(const Scope& scope, DenseEnergy kind, const Volume& size, int64_t channels,
                                    const double* voxel_size, const double* scale, const S* u, S* gradient) {
    STD_CUDA_CHECK((cuda::dense_energy_gradient<T>(kind, size, channels, voxel_size, scale, device(u),
                                                   device(gradient), scope.stream)));
  }

  template <typename T, typename S, int kAxes>
  static void jacobian_determinant(const Scope& scope, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                                   S* out) {
    STD_CUDA_CHECK(cuda::jacobian_determinant(device(stencil), examples, device(out), scope.stream));
  }

  template <typename T, typename S, int kAxes>
  static void folding_penalty(const Scope& scope, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                              double threshold, double* penalty) {
    Tensor blocks = scope.workspace<double>(cuda::energy_workspace(stencil.cells(), examples));
    STD_CUDA_CHECK(cuda::folding_penalty(device(stencil), examples, threshold, penalty,
                                         blocks.mutable_data_ptr<double>(), scope.stream));
  }

  template <typename T, typename S, int kAxes, typename Force>
  static void jacobian_gradient(const Scope& scope, const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                                const Force& force, S* gradient) {
    STD_CUDA_CHECK(cuda::jacobian_gradient(device(stencil), examples, device(force), device(gradient), scope.stream));
  }

  template <typename T, typename S, int kAxes>
  static void spline_jacobian_determinant(const Scope& scope, const SplineSlopes<kAxes>& slopes, int64_t examples,
                                          const S* c, S* out) {
    STD_CUDA_CHECK((cuda::spline_jacobian_determinant<T>(slopes, examples, device(c), device(out), scope.stream)));
  }

  // Workspace of gradients to the lattices of `examples`; of none, nothing.
  template <typename T>
  struct SlopeTensors {
    Tensor forces, along, partials;

    template <int kAxes>
    SlopeTensors(const Scope& scope, const SplineSlopes<kAxes>& slopes, int64_t examples) {
      const int64_t fields = cuda::images_at_a_time(examples, kAxes * slopes.voxels()) * (examples ? kAxes : 0);
      forces = scope.workspace<T>(fields * slopes.voxels());
      along = scope.workspace<T>(kAxes * fields * slopes.knots());
      partials = scope.workspace<T>(cuda::adjoint_workspace<T>(slopes.along[0], fields));
    }

    cuda::SlopeWorkspace<T> pointers(double* tiles) {
      return {forces.mutable_data_ptr<T>(), along.mutable_data_ptr<T>(), partials.mutable_data_ptr<T>(), tiles};
    }
  };

  template <typename T, typename S, int kAxes>
  static void spline_jacobian_gradient(const Scope& scope, const SplineSlopes<kAxes>& slopes, int64_t examples,
                                       const S* grad, const S* c, S* gradient) {
    SlopeTensors<T> workspace(scope, slopes, examples);
    STD_CUDA_CHECK((cuda::spline_jacobian_gradient<T>(slopes, examples, device(grad), device(c), device(gradient),
                                                      workspace.pointers(nullptr), scope.stream)));
  }

  template <typename T, typename S, int kAxes>
  static void spline_folding_penalty(const Scope& scope, const SplineSlopes<kAxes>& slopes, int64_t examples,
                                     double threshold, const S* c, double* penalty, T* gradient) {
    SlopeTensors<T> workspace(scope, slopes, gradient ? examples : 0);
    Tensor tiles = scope.workspace<double>(cuda::folding_workspace<T>(slopes.along[0], examples));
    STD_CUDA_CHECK((cuda::spline_folding_penalty<T>(slopes, examples, threshold, device(c), penalty, gradient,
                                                    workspace.pointers(tiles.mutable_data_ptr<double>()),
                                                    scope.stream)));
  }

  template <typename T, typename D, typename S>
  static void warp(const Scope& scope, const Sampling& s, const S* x, const D* displacement, S* out) {
    STD_CUDA_CHECK((cuda::warp<T>(s, device(x), device(displacement), device(out), scope.stream)));
  }

  template <typename T, typename S>
  static void warp_backward(const Scope& scope, const Sampling& s, const S* grad, const S* x, const S* displacement,
                            S* grad_x, S* grad_displacement) {
    Tensor sums = scope.workspace<T>(cuda::image_workspace<T>(s, grad_x));
    STD_CUDA_CHECK((cuda::warp_backward<T>(s, device(grad), device(x), device(displacement), device(grad_x),
                                           device(grad_displacement), sums.mutable_data_ptr<T>(), scope.stream)));
  }

  template <typename T, typename D, typename S>
  static void spline_warp(const Scope& scope, const Sampling& s, const Lattice& g, const S* x, const D* c, S* out) {
    STD_CUDA_CHECK((cuda::spline_warp<T>(s, g, device(x), device(c), device(out), scope.stream)));
  }

  template <typename T, typename S>
  static void spline_warp_backward(const Scope& scope, const Sampling& s, const Lattice& g, const S* grad, const S* x,
                                   const S* c, S* grad_x, S* grad_c) {
    const int64_t fields = grad_c ? cuda::images_at_a_time(s, s.axes) * s.axes : 0;
    Tensor sums = scope.workspace<T>(cuda::image_workspace<T>(s, grad_x)),
           forces = scope.workspace<T>(fields * s.voxels()),
           partials = scope.workspace<T>(cuda::adjoint_workspace<T>(g, fields));
    const cuda::SplineWarpWorkspace<T> workspace{sums.mutable_data_ptr<T>(), forces.mutable_data_ptr<T>(),
                                                 partials.mutable_data_ptr<T>()};
    STD_CUDA_CHECK((cuda::spline_warp_backward<T>(s, g, device(grad), device(x), device(c), device(grad_x),
                                                  device(grad_c), workspace, scope.stream)));
  }

  template <typename T, typename S>
  static void transform_chain(const Scope& scope, const Chain<T, S>& chain, S* out) {
    STD_CUDA_CHECK(cuda::transform_chain(device(chain), device(out), scope.stream));
  }

  template <typename T, typename S>
  static void transform_chain_backward(const Scope& scope, const Chain<T, S>& chain, const S* grad,
                                       const ChainGradients<S>& gradients) {
    const Sampling& s = chain.s;
    const int64_t fields = cuda::chain_fields(chain, gradients),
                  images = fields ? cuda::images_at_a_time(s, fields) : 0;
    const int64_t motion = gradients.displacement ? cuda::adjoint_workspace<T>(chain.motion, images * s.axes) : 0,
                  gain = gradients.log_gain ? cuda::adjoint_workspace<T>(chain.gain, images * chain.gains) : 0;
    Tensor sums = scope.workspace<T>(cuda::image_workspace<T>(s, gradients.image)),
           forces = scope.workspace<T>(images * fields * s.voxels()),
           partials = scope.workspace<T>(std::max(motion, gain));
    const cuda::ChainWorkspace<T> workspace{sums.mutable_data_ptr<T>(), forces.mutable_data_ptr<T>(),
                                            partials.mutable_data_ptr<T>()};
    STD_CUDA_CHECK(
        cuda::transform_chain_backward(device(chain), device(grad), device(gradients), workspace, scope.stream));
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(medadv, CUDA, m) { register_operators<Cuda>(m); }

}  // namespace medadv
