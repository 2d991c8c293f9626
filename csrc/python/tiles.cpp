// The tiles of the CUDA kernels, run on the host.
#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "core/bias_field.h"
#include "core/spline_jacobian_tile.h"
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
Images<T> tiled_spline_derivative(const Images<T>& lattice, const std::vector<int64_t>& size,
                                  const std::vector<int32_t>& derivative, const std::vector<double>& voxel_size,
                                  uint32_t seed) {
  const std::vector<int64_t> knots(lattice.shape() + 1, lattice.shape() + lattice.ndim());
  const Lattice g = differentiated(lattice_over(size, knots), derivative, voxel_size);
  const Tiling<T> tiling = tiling_over<T>(g);
  std::vector<int64_t> shape(size);
  shape.insert(shape.begin(), lattice.shape(0));
  Images<T> out(shape);
  const FieldVoxel<T, T> voxel{out.mutable_data(), quads_aligned(g.x.size, out.data())};
  for_each_tile(tiling, lattice.shape(0) * g.z.size, [&](const TileIndex& tile) {
    const auto memory = undefined_memory<TileForward<T>>();
    memory->run(HostTeam<kTileThreads>{seed}, tiling, tile, int32_t(tile.plane % g.z.size),
                lattice.data() + tile.plane / g.z.size * g.knots(), voxel);
  });
  return out;
}

template <typename T>
Images<T> tiled_spline_derivative_adjoint(const Images<T>& grad, const std::vector<int64_t>& knots,
                                          const std::vector<int32_t>& derivative,
                                          const std::vector<double>& voxel_size, uint32_t seed) {
  const std::vector<int64_t> size(grad.shape() + 1, grad.shape() + grad.ndim());
  const Lattice g = differentiated(lattice_over(size, knots), derivative, voxel_size);
  const Tiling<T> tiling = tiling_over<T>(g);
  std::vector<int64_t> shape(knots);
  shape.insert(shape.begin(), grad.shape(0));
  Images<T> grad_c(shape);
  std::vector<T> partial(size_t(tiling.partials(grad.shape(0) * g.z.size)));
  const FieldForce<T, T> force{grad.data(), quads_aligned(g.x.size, grad.data())};
  for_each_tile(tiling, grad.shape(0) * g.z.size, [&](const TileIndex& tile) {
    const auto memory = undefined_memory<TileBackward<T>>();
    memory->run(HostTeam<kTileThreads>{seed}, tiling, tile, int32_t(tile.plane % g.z.size),
                static_cast<const T*>(nullptr), force,
                &partial[size_t(tiling.partial_of(tile.plane, tile.y, tile.x))]);
  });
  const GatherKnot<T, T> gather{tiling, {grad.shape(0), 1}, partial.data(), grad_c.mutable_data()};
  for (int32_t n = 0; n < int32_t(grad.shape(0)); ++n)
    for_each(g.z, g.y, g.x, &Axis::knots, [&, n](int64_t, int32_t z, int32_t y, int32_t x) {
      T sum[kGatherThreads];
      std::memset(sum, 0xff, sizeof sum);
      gather.run(HostTeam<kGatherThreads>{seed}, sum, KnotIndex{n, z, y, x});
    });
  return grad_c;
}

// Of lattices [N, D, *G], and a gradient [N, *S] to their determinants: the determinants [N, *S], the forces of that
// gradient on the derivatives along `axis`, [N, D, *S], the sums [N] of the squares of what determinants lack to the
// threshold, and the forces of the mean penalty. Also of lattices too fine for tiles.
template <typename T>
std::tuple<Images<T>, Images<T>, Array, Images<T>> tiled_spline_jacobian(const Images<T>& lattice,
                                                                         const Images<T>& grad,
                                                                         const std::vector<double>& voxel_size,
                                                                         double threshold, int axis, uint32_t seed) {
  const std::vector<int64_t> knots(lattice.shape() + 2, lattice.shape() + lattice.ndim());
  const std::vector<int64_t> size(grad.shape() + 1, grad.shape() + grad.ndim());
  const Lattice g = lattice_over(size, knots);
  const Tiling<T> tiling(g);
  const int64_t examples = lattice.shape(0), axes = int64_t(size.size());
  std::vector<int64_t> shape{examples};
  shape.insert(shape.end(), size.begin(), size.end());
  Images<T> determinants = undefined_images<T>(shape);
  shape.insert(shape.begin() + 1, axes);
  Images<T> given = undefined_images<T>(shape), folding = undefined_images<T>(shape);
  Array sums(examples);
  std::fill_n(sums.mutable_data(), examples, 0.0);
  const auto run = [&]<int kAxes>() {
    using D = Deformation<T, kAxes>;
    const SplineSlopes<kAxes> slopes(g, padded_sizes(voxel_size).data());
    const SlopeDeterminant<T> determinant{g.voxels(), determinants.mutable_data()};
    const GivenSlopeForces<T, T, kAxes> pull{{g.voxels(), axis, given.mutable_data()}, grad.data()};
    const FoldingSlopeForces<T, kAxes> fold{{g.voxels(), axis, folding.mutable_data()}, T(threshold)};
    for_each_tile(tiling, examples * g.z.size, [&](const TileIndex& tile) {
      const auto memory = undefined_memory<TileSlopes<T, kAxes>>();
      const int64_t n = tile.plane / g.z.size;
      memory->run(HostTeam<kTileThreads>{seed}, tiling, slopes, tile, n, int32_t(tile.plane % g.z.size),
                  lattice.data() + n * kAxes * g.knots(), [&](int, int64_t example, int64_t at, const D& d) {
                    determinant(example, at, d);
                    pull(example, at, d);
                    sums.mutable_data()[n] += double(fold(example, at, d));
                  });
    });
  };
  axes == 2 ? run.template operator()<2>() : run.template operator()<3>();
  return {determinants, given, sums, folding};
}

template <typename T>
void define_tiled(py::module_& m) {
  m.def("tiled_spline_derivative", &tiled_spline_derivative<T>, py::arg("lattice").noconvert(), py::arg("size"),
        py::arg("derivative"), py::arg("voxel_size"), py::arg("seed") = 0,
        "A derivative of the fields of [K, *G] as the CUDA kernel computes it, run on the host.");
  m.def("tiled_spline_derivative_adjoint", &tiled_spline_derivative_adjoint<T>, py::arg("grad").noconvert(),
        py::arg("knots"), py::arg("derivative"), py::arg("voxel_size"), py::arg("seed") = 0,
        "Its adjoint, as the CUDA kernels compute it, run on the host.");
  m.def("tiled_spline_jacobian", &tiled_spline_jacobian<T>, py::arg("lattice").noconvert(),
        py::arg("grad").noconvert(), py::arg("voxel_size"), py::arg("threshold"), py::arg("axis"), py::arg("seed") = 0,
        "Determinants of [N, D, *G], the forces of grad [N, *S] along an axis, folding and its forces there, as the "
        "CUDA kernels compute them, run on the host.");
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
