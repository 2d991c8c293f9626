#include "core/transform_chain_tile.h"
#include "cuda/warp_launch.cuh"

namespace medadv::cuda {
namespace {

// Per multiprocessor; see kTileBlocks.
template <typename T>
constexpr int kChainBlocks = sizeof(T) == 8 ? 1 : 2;

template <typename T, int kAxes, typename Voxel>
__global__ void __launch_bounds__(kTileThreads, kChainBlocks<T>)
    tile_chain_kernel(const __grid_constant__ Tiling<T> motion, const __grid_constant__ Tiling<T> gain, unsigned planes,
                      const __grid_constant__ Voxel voxel) {
  __shared__ TileChain<T, kAxes> shared;
  const unsigned depth = unsigned(motion.g.z.size);
  for (unsigned plane = blockIdx.z; plane < planes; plane += gridDim.z)
    for (int32_t y = int32_t(blockIdx.y); y < motion.y; y += int32_t(gridDim.y)) {
      const unsigned image = plane / depth;
      shared.run(CudaTeam<kTileThreads>{}, motion, gain, TileIndex{plane, y, int32_t(blockIdx.x)}, image,
                 int32_t(plane - image * depth), voxel.chain, voxel);
    }
}

template <typename T, int kAxes, typename Voxel>
cudaError_t at_voxels(const Voxel& voxel, cudaStream_t stream) {
  const auto& chain = voxel.chain;
  const Tiling<T> motion(chain.motion), gain(chain.gain);
  const int64_t planes = chain.s.images * chain.s.z;
  const dim3 grid(unsigned(motion.x), grid_axis(motion.y), grid_axis(planes));
  tile_chain_kernel<T, kAxes><<<grid, kTileThreads, 0, stream>>>(motion, gain, unsigned(planes), voxel);
  return cudaGetLastError();
}

// The images [first, first + count) of a chain.
template <typename T, typename S>
Chain<T, S> some_of(const Chain<T, S>& chain, int64_t first, int64_t count) {
  Chain<T, S> some = chain;
  some.s.images = count;
  some.image += first * chain.s.channels * chain.s.voxels();
  some.displacement = chain.displacement_of(first);
  if (some.log_gain) some.log_gain += first * chain.gains * chain.gain.knots();
  if (some.noise) some.noise += first * chain.noises * chain.s.voxels();
  return some;
}

}  // namespace

template <typename T, typename S>
cudaError_t transform_chain(const Chain<T, S>& chain, S* out, cudaStream_t stream) {
  return choose(chain.s, [&](auto kind, auto axes) {
    return at_voxels<T, axes>(ChainVoxel<T, S, kind, axes>{chain, out}, stream);
  });
}

// Some images at a time: their forces on the lattices to the workspace, then the adjoints of the fields.
template <typename T, typename S>
cudaError_t transform_chain_backward(const Chain<T, S>& chain, const S* grad, const ChainGradients<S>& to,
                                     const ChainWorkspace<T>& workspace, cudaStream_t stream) {
  const Sampling& s = chain.s;
  return sum_images<T>(s, to.image, workspace.images, stream, [&](T* sum) {
    const int64_t step = to.displacement || to.log_gain ? images_at_a_time(s, chain_fields(chain, to)) : s.images;
    for (int64_t first = 0; first < s.images; first += step) {
      const int64_t count = first + step < s.images ? step : s.images - first, at = first * s.channels * s.voxels();
      const Chain<T, S> some = some_of(chain, first, count);
      T* const motion_force = to.displacement ? workspace.forces : nullptr;
      const int64_t before = to.displacement ? count * s.axes * s.voxels() : 0;
      T* const gain_force = to.log_gain ? workspace.forces + before : nullptr;
      S* const grad_noise = to.noise ? to.noise + first * chain.noises * s.voxels() : nullptr;
      const cudaError_t error = choose(s, [&](auto kind, auto axes) {
        using Gradient = ChainGradientVoxel<T, S, kind, axes, AtomicImage<T>>;
        return at_voxels<T, axes>(
            Gradient{some, grad + at, motion_force, gain_force, grad_noise, {sum ? sum + at : nullptr}}, stream);
      });
      if (error != cudaSuccess) return error;
      // forces: [count, fields, z, y, x], or null where no gradient to their lattice is wanted.
      const auto sum_on = [&](const Lattice& g, int64_t fields, const T* forces, S* grad_c) {
        if (!forces) return cudaSuccess;
        const FieldForce<T, T> force{forces, quads_aligned(g.x.size, forces)};
        return spline_backward<T>(g, {count * fields, 1}, force, grad_c + first * fields * g.knots(),
                                  workspace.partials, stream);
      };
      const cudaError_t moved = sum_on(chain.motion, s.axes, motion_force, to.displacement);
      if (moved != cudaSuccess) return moved;
      const cudaError_t gained = sum_on(chain.gain, chain.gains, gain_force, to.log_gain);
      if (gained != cudaSuccess) return gained;
    }
    return cudaSuccess;
  });
}

#define MEDADV_INSTANTIATE(T, S)                                                            \
  template cudaError_t transform_chain<T, S>(const Chain<T, S>&, S*, cudaStream_t);         \
  template cudaError_t transform_chain_backward<T, S>(                                      \
      const Chain<T, S>&, const S*, const ChainGradients<S>&, const ChainWorkspace<T>&, cudaStream_t);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, __half)
MEDADV_INSTANTIATE(float, __nv_bfloat16)

}  // namespace medadv::cuda
