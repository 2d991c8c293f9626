// The tiles of the CUDA kernels, run on the host.
#include <utility>
#include <vector>

#include "core/bias_field.h"
#include "core/warp_tile.h"
#include "python/definitions.h"
#include "python/tiles.h"

namespace medadv {
namespace {

struct TiledShapes {
  Lattice g;
  Channels channels;
};

template <typename T>
TiledShapes tiled_shapes(const Images<T>& image, const Images<T>& lattice) {
  const std::vector<int64_t> size(image.shape() + 1, image.shape() + image.ndim());
  const std::vector<int64_t> knots(lattice.shape() + 1, lattice.shape() + lattice.ndim());
  return {lattice_over(size, knots), {image.shape(0), lattice.shape(0) == 1 ? image.shape(0) : 1}};
}

template <typename T>
Tiling<T> tiling_over(const Lattice& g) {
  const Tiling<T> tiling(g);
  if (!tiling.fits()) throw py::value_error("lattice is too fine for tiles");
  return tiling;
}

template <typename T>
Images<T> tiled_bias_field(const Images<T>& image, const Images<T>& lattice, uint32_t seed) {
  const auto [g, channels] = tiled_shapes(image, lattice);
  const Tiling<T> tiling = tiling_over<T>(g);
  Images<T> out(std::vector<int64_t>(image.shape(), image.shape() + image.ndim()));
  const BiasVoxel<T, T> voxel{image.data(), out.mutable_data(), quads_aligned(g.x.size, image.data(), out.data())};
  for_each_tile(tiling, channels.count * g.z.size, [&, g = g, channels = channels](const TileIndex& tile) {
    const auto memory = undefined_memory<TileForward<T>>();
    const T* c = lattice.data() + channels.lattice_of(tile.plane / g.z.size) * g.knots();
    memory->run(HostTeam<kTileThreads>{seed}, tiling, tile, int32_t(tile.plane % g.z.size), c, voxel);
  });
  return out;
}

template <typename T>
std::pair<Images<T>, Images<T>> tiled_bias_field_backward(const Images<T>& grad, const Images<T>& image,
                                                          const Images<T>& lattice, uint32_t seed) {
  const auto [g, channels] = tiled_shapes(image, lattice);
  const Tiling<T> tiling = tiling_over<T>(g);
  Images<T> grad_image(std::vector<int64_t>(image.shape(), image.shape() + image.ndim()));
  Images<T> grad_c(std::vector<int64_t>(lattice.shape(), lattice.shape() + lattice.ndim()));
  std::vector<T> partial(size_t(tiling.partials(channels.count * g.z.size)));
  const BiasForce<T, T> force{grad.data(), image.data(), grad_image.mutable_data(),
                              quads_aligned(g.x.size, grad.data(), image.data(), grad_image.data())};
  for_each_tile(tiling, channels.count * g.z.size, [&, g = g, channels = channels](const TileIndex& tile) {
    const auto memory = undefined_memory<TileBackward<T>>();
    const T* c = lattice.data() + channels.lattice_of(tile.plane / g.z.size) * g.knots();
    memory->run(HostTeam<kTileThreads>{seed}, tiling, tile, int32_t(tile.plane % g.z.size), c, force,
                &partial[size_t(tiling.partial_of(tile.plane, tile.y, tile.x))]);
  });
  const GatherKnot<T, T> gather{tiling, channels, partial.data(), grad_c.mutable_data()};
  for (int32_t n = 0; n < channels.lattices(); ++n)
    for_each(g.z, g.y, g.x, &Axis::knots, [&, n](int64_t, int32_t z, int32_t y, int32_t x) {
      T sum[kGatherThreads];
      std::memset(sum, 0xff, sizeof sum);
      gather.run(HostTeam<kGatherThreads>{seed}, sum, KnotIndex{n, z, y, x});
    });
  return {grad_image, grad_c};
}

// image: [C, *S]; lattice: [axes, *G]. Also of lattices too fine for tiles.
template <typename T>
Images<T> tiled_spline_warp(const Images<T>& image, const Images<T>& lattice, int interpolation, int padding,
                            uint32_t seed) {
  const std::vector<int64_t> size(image.shape() + 1, image.shape() + image.ndim());
  const std::vector<int64_t> knots(lattice.shape() + 1, lattice.shape() + lattice.ndim());
  const Lattice g = lattice_over(size, knots);
  const Sampling s = sampling_over(size, image.shape(0), interpolation, padding);
  if (lattice.shape(0) != s.axes) throw py::value_error("lattice must have one component per axis");
  const Tiling<T> tiling(g);
  Images<T> out(std::vector<int64_t>(image.shape(), image.shape() + image.ndim()));
  choose_sampling(s, [&]<Interpolation kind, int kAxes>() {
    const WarpVoxel<T, T, kind, kAxes> voxel{s, image.data(), out.mutable_data()};
    for_each_tile(tiling, g.z.size, [&](const TileIndex& tile) {
      const auto memory = undefined_memory<TileWarp<T, kAxes>>();
      memory->run(HostTeam<kTileThreads>{seed}, tiling, tile, 0, int32_t(tile.plane), lattice.data(), voxel);
    });
  });
  return out;
}

template <typename T>
void define_tiled(py::module_& m) {
  m.def("tiled_spline_warp", &tiled_spline_warp<T>, py::arg("image").noconvert(), py::arg("lattice").noconvert(),
        py::arg("interpolation"), py::arg("padding"), py::arg("seed") = 0,
        "spline_warp of [C, *S] as the CUDA kernel computes it, run on the host.");
  m.def("tiled_bias_field", &tiled_bias_field<T>, py::arg("image").noconvert(), py::arg("lattice").noconvert(),
        py::arg("seed") = 0, "bias_field of [C, *S] as the CUDA kernel computes it, run on the host.");
  m.def("tiled_bias_field_backward", &tiled_bias_field_backward<T>, py::arg("grad").noconvert(),
        py::arg("image").noconvert(), py::arg("lattice").noconvert(), py::arg("seed") = 0,
        "Its gradients to image and lattice, as the CUDA kernels compute them, run on the host.");
}

}  // namespace

void define_tiles(py::module_& m) {
  define_tiled<float>(m);
  define_tiled<double>(m);
}

}  // namespace medadv
