// Definitions: the chain of transforms voxel by voxel, and as the CUDA kernel's tiles compute it.
#include "core/transform_chain.h"

#include <cmath>
#include <optional>
#include <tuple>

#include "core/transform_chain_tile.h"
#include "python/definitions.h"
#include "python/tiles.h"

namespace medadv {
namespace {

template <typename T>
using Stage = std::optional<Images<T>>;

template <typename T>
const T* data(const Stage<T>& stage) {
  return stage ? stage->data() : nullptr;
}

template <typename T>
std::vector<int64_t> shape_of(const Images<T>& a) {
  return {a.shape(), a.shape() + a.ndim()};
}

template <typename T>
Lattice lattice_of(const Stage<T>& stage, const std::vector<int64_t>& size) {
  std::vector<int64_t> knots(size.size(), 4);
  if (stage) knots.assign(stage->shape() + 2, stage->shape() + stage->ndim());
  return lattice_over(size, knots);
}

// image: [N, C, *S]; displacement: [N, axes, *G]; log_gain: [N, 1 or C, *G]; noise: [N, 1 or C, *S].
template <typename T>
Chain<T, T> chain_of(const Images<T>& image, const Stage<T>& displacement, const Stage<T>& log_gain,
                     const Stage<T>& noise, const std::vector<double>& bounds, double origin, int interpolation,
                     int padding) {
  const std::vector<int64_t> size(image.shape() + 2, image.shape() + image.ndim());
  const T infinity = std::numeric_limits<T>::infinity();
  const bool clips = bounds.size() == 2;
  Sampling s = sampling_over(size, image.shape(1), interpolation, padding);
  s.images = image.shape(0);
  if (!displacement) s.interpolation = Interpolation::nearest;
  return {s, lattice_of(displacement, size), lattice_of(log_gain, size), log_gain ? log_gain->shape(1) : 0,
          noise ? noise->shape(1) : 0, T(origin), clips ? T(bounds[0]) : -infinity, clips ? T(bounds[1]) : infinity,
          clips, image.data(), data(displacement), data(log_gain), data(noise)};
}

// Calls voxel(image, at, z, y, x, displacement, log gain) for every voxel, straight from the control points.
template <int kAxes>
struct EveryVoxel {
  template <typename T, typename Voxel>
  void operator()(const Chain<T, T>& chain, const Voxel& voxel) const {
    for (int64_t n = 0; n < chain.s.images; ++n)
      for_each(Volume{chain.s.z, chain.s.y, chain.s.x},
               [&](int64_t, int32_t z, int32_t y, int32_t x) { visit(chain, voxel, n, z, y, x); });
  }

 private:
  template <typename T, typename Voxel>
  static void visit(const Chain<T, T>& chain, const Voxel& voxel, int64_t n, int32_t z, int32_t y, int32_t x) {
    const Stencil<T> stencil(chain.motion, z, y, x);
    T d[kAxes] = {};
    if (chain.displacement)
      for (int k = 0; k < kAxes; ++k)
        d[k] = stencil.gather(chain.motion, chain.displacement_of(n) + k * chain.motion.knots());
    const int64_t at = z * chain.s.plane() + int64_t(y) * chain.s.x + x;
    voxel(n, at, z, y, x, d, LogGainAt<T, T>{chain, n, z, y, x, false, T(0)});
  }
};

// The same tile by tile.
template <int kAxes>
struct EveryTile {
  uint32_t seed;

  template <typename T, typename Voxel>
  void operator()(const Chain<T, T>& chain, const Voxel& voxel) const {
    const Tiling<T> motion(chain.motion), gain(chain.gain);
    for_each_tile(motion, chain.s.images * chain.s.z, [&](const TileIndex& tile) {
      const auto memory = undefined_memory<TileChain<T, kAxes>>();
      memory->run(HostTeam<kTileThreads>{seed}, motion, gain, tile, tile.plane / chain.s.z,
                  int32_t(tile.plane % chain.s.z), chain, voxel);
    });
  }
};

// at_voxels(axes) returns one of the above for an integral constant.
template <typename T, typename AtVoxels>
Images<T> forward(const Images<T>& image, const Chain<T, T>& chain, const AtVoxels& at_voxels) {
  Images<T> out = undefined_images<T>(shape_of(image));
  choose_sampling(chain.s, [&]<Interpolation kind, int kAxes>() {
    at_voxels(std::integral_constant<int, kAxes>{})(chain, ChainVoxel<T, T, kind, kAxes>{chain, out.mutable_data()});
  });
  return out;
}

template <typename T>
struct AddInPlace {
  T* sum;
  void operator()(int64_t at, T share) const { sum[at] += share; }
};

// The sum of forces [N, K, *S] on lattices [N, K, *G].
template <typename T>
Stage<T> adjoint(const Lattice& g, const Stage<T>& lattice, const std::vector<T>& force) {
  if (!lattice) return {};
  Images<T> out(shape_of(*lattice));
  const int64_t lattices = lattice->shape(0) * lattice->shape(1);
  const SplineAdjoint<T, T, FieldForce<T, T>> sum{g, {lattices, 1}, {force.data()}, out.mutable_data()};
  for (int64_t k = 0; k < lattices; ++k)
    for_each(g.z, g.y, g.x, &Axis::knots, [&](int64_t, int32_t z, int32_t y, int32_t x) { sum(k, z, y, x); });
  return out;
}

template <typename T, typename AtVoxels>
std::tuple<Images<T>, Stage<T>, Stage<T>, Stage<T>> gradients(const Images<T>& grad, const Images<T>& image,
                                                              const Stage<T>& displacement, const Stage<T>& log_gain,
                                                              const Stage<T>& noise, const Chain<T, T>& chain,
                                                              const AtVoxels& at_voxels) {
  const Sampling& s = chain.s;
  Images<T> grad_image(shape_of(image));
  std::fill_n(grad_image.mutable_data(), grad_image.size(), T(0));
  Stage<T> grad_noise;
  if (noise) grad_noise = undefined_images<T>(shape_of(*noise));
  const int64_t voxels = s.images * s.voxels();
  std::vector<T> motion(displacement ? size_t(s.axes * voxels) : 0, T(NAN)),
      gain(log_gain ? size_t(chain.gains * voxels) : 0, T(NAN));
  choose_sampling(s, [&]<Interpolation kind, int kAxes>() {
    using Voxel = ChainGradientVoxel<T, T, kind, kAxes, AddInPlace<T>>;
    at_voxels(std::integral_constant<int, kAxes>{})(
        chain, Voxel{chain, grad.data(), displacement ? motion.data() : nullptr, log_gain ? gain.data() : nullptr,
                     grad_noise ? grad_noise->mutable_data() : nullptr, {grad_image.mutable_data()}});
  });
  return {grad_image, adjoint(chain.motion, displacement, motion), adjoint(chain.gain, log_gain, gain), grad_noise};
}

const auto every_voxel = []<int kAxes>(std::integral_constant<int, kAxes>) { return EveryVoxel<kAxes>{}; };

auto every_tile(uint32_t seed) {
  return [seed]<int kAxes>(std::integral_constant<int, kAxes>) { return EveryTile<kAxes>{seed}; };
}

// Defines both functions of a family whose last arguments choose how voxels are visited: visit(more...).
template <typename T, typename... More, typename Visit, typename... Names>
void define(py::module_& m, const char* name, const char* doc, Visit visit, const Names&... more) {
  const auto values = [visit](const Images<T>& x, const Stage<T>& d, const Stage<T>& c, const Stage<T>& n,
                              const std::vector<double>& bounds, double origin, int interpolation, int padding,
                              More... rest) {
    return forward(x, chain_of(x, d, c, n, bounds, origin, interpolation, padding), visit(rest...));
  };
  const auto slopes = [visit](const Images<T>& g, const Images<T>& x, const Stage<T>& d, const Stage<T>& c,
                              const Stage<T>& n, const std::vector<double>& bounds, double origin, int interpolation,
                              int padding, More... rest) {
    return gradients(g, x, d, c, n, chain_of(x, d, c, n, bounds, origin, interpolation, padding), visit(rest...));
  };
  m.def(name, values, py::arg("image").noconvert(), py::arg("displacement").noconvert(),
        py::arg("log_gain").noconvert(), py::arg("noise").noconvert(), py::arg("bounds"), py::arg("origin"),
        py::arg("interpolation"), py::arg("padding"), more..., doc);
  m.def((std::string(name) + "_gradients").c_str(), slopes, py::arg("grad").noconvert(), py::arg("image").noconvert(),
        py::arg("displacement").noconvert(), py::arg("log_gain").noconvert(), py::arg("noise").noconvert(),
        py::arg("bounds"), py::arg("origin"), py::arg("interpolation"), py::arg("padding"), more...,
        "Its gradients to image, displacement, log_gain and noise.");
}

template <typename T>
void define_tiled(py::module_& m) {
  define<T, uint32_t>(m, "tiled_transform_chain", "transform_chain of [N, C, *S] as the CUDA kernel computes it.",
                      every_tile, py::arg("seed") = 0);
}

}  // namespace

void define_chains(py::module_& m) {
  define<double>(m, "transform_chain", "transform_chain of [N, C, *S]; interpolation and padding by number.",
                 [] { return every_voxel; });
  define_tiled<float>(m);
  define_tiled<double>(m);
}

}  // namespace medadv
