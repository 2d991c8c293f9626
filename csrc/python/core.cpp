// The torch-free core as a Python module: what this build is, and the voxel-by-voxel definitions over NumPy
// arrays, against which every faster path is tested.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/bias_field.h"
#include "core/dense_energy.h"
#include "core/gaussian_blur.h"
#include "core/jacobian.h"
#include "core/lattice_energy.h"
#include "core/spline_tile.h"
#include "core/warp.h"
#include "core/warp_tile.h"

namespace py = pybind11;
using namespace medadv;

namespace {

using Array = py::array_t<double, py::array::c_style>;

// Axes of a lattice [Gy, Gx] or [Gz, Gy, Gx] over an image of that many axes.
Lattice lattice_over(const std::vector<int64_t>& size, const std::vector<int64_t>& knots) {
  if (size.size() != knots.size() || size.size() < 2 || size.size() > 3)
    throw py::value_error("image and lattice must both have 2 or 3 axes");
  Axis axes[3] = {{1, 1}, {1, 1}, {1, 1}};
  for (size_t d = 0; d < size.size(); ++d) {
    if (knots[d] < 4) throw py::value_error("lattice must have at least 4 control points along every axis");
    axes[3 - size.size() + d] = {int32_t(size[d]), int32_t(knots[d])};
  }
  return {axes[0], axes[1], axes[2]};
}

std::vector<int64_t> shape_of(const Array& a) { return {a.shape(), a.shape() + a.ndim()}; }

template <typename F>
void for_each(const Axis& z, const Axis& y, const Axis& x, int32_t Axis::*extent, F f) {
  for (int32_t k = 0; k < z.*extent; ++k)
    for (int32_t j = 0; j < y.*extent; ++j)
      for (int32_t i = 0; i < x.*extent; ++i) f(0, k, j, i);
}

template <typename Voxel>
SplineField<double, double, Voxel> at_voxels(const Lattice& g, const Array& lattice, const Voxel& voxel) {
  return {g, {1, 1}, lattice.data(), voxel};
}

Array spline_field(const Array& lattice, const std::vector<int64_t>& size) {
  const Lattice g = lattice_over(size, shape_of(lattice));
  Array out(size);
  for_each(g.z, g.y, g.x, &Axis::size, at_voxels(g, lattice, FieldVoxel<double, double>{out.mutable_data()}));
  return out;
}

Array spline_field_adjoint(const Array& grad, const std::vector<int64_t>& knots) {
  const Lattice g = lattice_over(shape_of(grad), knots);
  Array out(knots);
  using Force = FieldForce<double, double>;
  for_each(g.z, g.y, g.x, &Axis::knots,
           SplineAdjoint<double, double, Force>{g, {1, 1}, Force{grad.data()}, out.mutable_data()});
  return out;
}

Array bias_field(const Array& image, const Array& lattice) {
  const Lattice g = lattice_over(shape_of(image), shape_of(lattice));
  Array out(shape_of(image));
  for_each(g.z, g.y, g.x, &Axis::size,
           at_voxels(g, lattice, BiasVoxel<double, double>{image.data(), out.mutable_data()}));
  return out;
}

Array lattice_gradient(LatticeEnergy energy, const Array& lattice, std::vector<double> spacing) {
  const Lattice g = lattice_over(std::vector<int64_t>(spacing.size(), 1), shape_of(lattice));
  spacing.insert(spacing.begin(), 3 - spacing.size(), 1.0);
  const LatticeGradient<double> entry{energy, cell_integrals(), g, {spacing[0], spacing[1], spacing[2]}, lattice.data()};
  Array out(shape_of(lattice));
  double* next = out.mutable_data();
  for_each(g.z, g.y, g.x, &Axis::knots, [&](int64_t n, int z, int y, int x) { *next++ = entry(n, z, y, x); });
  return out;
}

Volume volume_of(const std::vector<int64_t>& size) {
  if (size.size() < 2 || size.size() > 3) throw py::value_error("image must have 2 or 3 axes");
  return {size.size() == 3 ? int32_t(size[0]) : 1, int32_t(size[size.size() - 2]), int32_t(size.back())};
}

template <typename F>
void for_each(const Volume& size, F f) {
  for (int32_t z = 0; z < size.z; ++z)
    for (int32_t y = 0; y < size.y; ++y)
      for (int32_t x = 0; x < size.x; ++x) f(0, z, y, x);
}

std::vector<double> padded_sizes(std::vector<double> voxel_size) {
  voxel_size.insert(voxel_size.begin(), 3 - voxel_size.size(), 1.0);
  return voxel_size;
}

Array gaussian_blur(const Array& image, double sigma, int axis, int padding, double truncate, bool adjoint) {
  const Volume size = volume_of(shape_of(image));
  Array out(shape_of(image));
  for_each(size, BlurVoxel<double, double, double>{gaussian_kernel<double>(sigma, truncate), BlurPadding(padding), adjoint,
                                                   axis + 3 - int(image.ndim()), size, image.data(),
                                                   out.mutable_data()});
  return out;
}

template <DenseEnergy kKind>
std::pair<double, Array> dense_energy(const Array& field, const std::vector<double>& voxel_size) {
  const Volume size = volume_of(shape_of(field));
  Array gradient(shape_of(field));
  const DenseStencil<double, double, kKind> stencil{
      size, dense_weights<double>(kKind, padded_sizes(voxel_size).data()), field.data()};
  const double scale = 1;
  for_each(size, DenseGradientVoxel<double, double, kKind>{stencil, &scale, gradient.mutable_data()});
  const DenseEnergyVoxel<double, double, kKind> voxel{stencil};
  double sum = 0;
  for_each(size, [&](int64_t n, int32_t z, int32_t y, int32_t x) { sum += voxel(n, z, y, x); });
  return {sum, gradient};
}

std::pair<double, Array> dense_energy(DenseEnergy kind, const Array& field, const std::vector<double>& voxel_size) {
  switch (kind) {
    case DenseEnergy::membrane: return dense_energy<DenseEnergy::membrane>(field, voxel_size);
    case DenseEnergy::total_variation: return dense_energy<DenseEnergy::total_variation>(field, voxel_size);
    default: return dense_energy<DenseEnergy::bending>(field, voxel_size);
  }
}

// Calls f with the stencil of a displacement [D, *S].
template <typename F>
auto with_jacobian(const Array& displacement, const std::vector<double>& voxel_size, F f) {
  const auto shape = shape_of(displacement);
  const Volume size = volume_of({shape.begin() + 1, shape.end()});
  const std::vector<double> h = padded_sizes(voxel_size);
  if (shape.size() == 3) return f(JacobianStencil<double, double, 2>{size, {1, 1 / h[1], 1 / h[2]}, displacement.data()});
  return f(JacobianStencil<double, double, 3>{size, {1 / h[0], 1 / h[1], 1 / h[2]}, displacement.data()});
}

Array jacobian_determinant(const Array& displacement, const std::vector<double>& voxel_size) {
  std::vector<int64_t> cells;
  for (py::ssize_t d = 1; d < displacement.ndim(); ++d) cells.push_back(displacement.shape(d) - 1);
  Array out(cells);
  with_jacobian(displacement, voxel_size, [&]<int kAxes>(const JacobianStencil<double, double, kAxes>& stencil) {
    for_each(stencil.cells(), DeterminantCell<double, double, kAxes>{stencil, out.mutable_data()});
  });
  return out;
}

Array jacobian_determinant_backward(const Array& grad, const Array& displacement,
                                    const std::vector<double>& voxel_size) {
  Array out(shape_of(displacement));
  with_jacobian(displacement, voxel_size, [&]<int kAxes>(const JacobianStencil<double, double, kAxes>& stencil) {
    using Force = GivenForce<double>;
    for_each(stencil.size,
             JacobianGradientVoxel<double, double, kAxes, Force>{stencil, Force{grad.data()}, out.mutable_data()});
  });
  return out;
}

std::pair<double, Array> folding_penalty(const Array& displacement, const std::vector<double>& voxel_size,
                                         double threshold) {
  Array gradient(shape_of(displacement));
  double sum = 0;
  with_jacobian(displacement, voxel_size, [&]<int kAxes>(const JacobianStencil<double, double, kAxes>& stencil) {
    const double weight = 1.0 / double(stencil.cells().voxels()), scale = 1;
    const FoldingCell<double, double, kAxes> cell{stencil, threshold};
    for_each(stencil.cells(), [&](int64_t n, int32_t z, int32_t y, int32_t x) { sum += weight * cell(n, z, y, x); });
    for_each(stencil.size, JacobianGradientVoxel<double, double, kAxes, FoldingForce>{
                               stencil, {threshold, weight, &scale}, gradient.mutable_data()});
  });
  return {sum, gradient};
}

// --- warps -----------------------------------------------------------------------------------------------------

Sampling sampling_over(const std::vector<int64_t>& size, int64_t channels, int interpolation, int padding) {
  if (size.size() < 2 || size.size() > 3) throw py::value_error("an image must have 2 or 3 axes");
  const size_t axes = size.size();
  return {1, channels, int32_t(axes == 3 ? size[0] : 1), int32_t(size[axes - 2]), int32_t(size[axes - 1]),
          int32_t(axes), Interpolation(interpolation), Padding(padding)};
}

// Calls f with integral constants for the interpolation and the number of axes.
template <typename F>
void choose_sampling(const Sampling& s, F f) {
  const auto with = [&]<Interpolation kind>() {
    if (s.axes == 3) f.template operator()<kind, 3>();
    else f.template operator()<kind, 2>();
  };
  if (s.interpolation == Interpolation::nearest) with.template operator()<Interpolation::nearest>();
  if (s.interpolation == Interpolation::linear) with.template operator()<Interpolation::linear>();
  if (s.interpolation == Interpolation::cubic) with.template operator()<Interpolation::cubic>();
}

template <int kAxes, typename Voxel>
void warp_by(const Array& displacement, const Voxel& voxel) {
  const Sampling& s = voxel.s;
  const DenseDisplacement<double, double, kAxes> read{displacement.data()};
  for (int32_t z = 0; z < s.z; ++z)
    for (int32_t y = 0; y < s.y; ++y)
      for (int32_t x = 0; x < s.x; ++x) {
        const int64_t at = z * s.plane() + int64_t(y) * s.x + x;
        double d[kAxes];
        read(s, 0, at, d);
        voxel(0, at, z, y, x, d);
      }
}

Array warp(const Array& image, const Array& displacement, int interpolation, int padding) {
  const Sampling s = sampling_over(shape_of(image), 1, interpolation, padding);
  Array out(shape_of(image));
  choose_sampling(s, [&]<Interpolation kind, int kAxes>() {
    warp_by<kAxes>(displacement, WarpVoxel<double, double, kind, kAxes>{s, image.data(), out.mutable_data()});
  });
  return out;
}

struct AddInPlace {
  double* sum;
  void operator()(int64_t at, double share) const { sum[at] += share; }
};

std::pair<Array, Array> warp_gradients(const Array& grad, const Array& image, const Array& displacement,
                                       int interpolation, int padding) {
  const Sampling s = sampling_over(shape_of(image), 1, interpolation, padding);
  Array grad_image(shape_of(image)), grad_displacement(shape_of(displacement));
  std::fill_n(grad_image.mutable_data(), grad_image.size(), 0.0);
  choose_sampling(s, [&]<Interpolation kind, int kAxes>() {
    using Gradient = WarpGradient<double, double, double, kind, kAxes, AddInPlace>;
    warp_by<kAxes>(displacement, Gradient{s, grad.data(), image.data(), grad_displacement.mutable_data(),
                                          {grad_image.mutable_data()}});
  });
  return {grad_image, grad_displacement};
}

// --- the tiles of the CUDA kernels, run on the host ------------------------------------------------------------
// Threads of a phase in an order that `seed` permutes, and shared memory that starts as NaN: what depends on
// the order, or is read before it is written, shows.

template <typename T>
using Images = py::array_t<T, py::array::c_style>;  // [C, *S], and lattices [K, *G]

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

template <typename Memory>
std::unique_ptr<Memory> undefined_memory() {
  auto memory = std::make_unique<Memory>();
  std::memset(static_cast<void*>(memory.get()), 0xff, sizeof(Memory));
  return memory;
}

template <typename T, typename F>
void for_each_tile(const Tiling<T>& tiling, int64_t planes, F f) {
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int32_t y = 0; y < tiling.y; ++y)
      for (int32_t x = 0; x < tiling.x; ++x) f(TileIndex{plane, y, x});
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

// The clone of the hot loops that the loader picks on this machine.
std::string instruction_set() {
#if MEDADV_CLONES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4 (AVX-512)";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3 (AVX2, FMA)";
#endif
  return "baseline";
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "What this build of medadv is, and its operators as plain loops over float64 NumPy arrays.";
  m.def("spline_field", &spline_field, py::arg("lattice"), py::arg("size"), "B-spline field of one channel.");
  m.def("spline_field_adjoint", &spline_field_adjoint, py::arg("grad"), py::arg("knots"),
        "Gradient of a scalar to the lattice, from its gradient to the field.");
  m.def("bias_field", &bias_field, py::arg("image"), py::arg("lattice"), "image * exp(B-spline) of one channel.");
  const auto gradient_of = [](LatticeEnergy energy) {
    return [energy](const Array& lattice, const std::vector<double>& spacing) {
      return lattice_gradient(energy, lattice, spacing);
    };
  };
  m.def("bending_gradient", gradient_of(LatticeEnergy::bending), py::arg("lattice"), py::arg("spacing"),
        "Gradient of the bending energy of one channel; spacing is the length of a cell along every axis.");
  m.def("membrane_gradient", gradient_of(LatticeEnergy::membrane), py::arg("lattice"), py::arg("spacing"),
        "Gradient of the membrane energy of one channel.");
  const auto dense = [](DenseEnergy energy) {
    return [energy](const Array& field, const std::vector<double>& voxel_size) {
      return dense_energy(energy, field, voxel_size);
    };
  };
  m.def("dense_bending_energy", dense(DenseEnergy::bending), py::arg("field"), py::arg("voxel_size"),
        "Bending energy of a dense field of one channel, and its gradient.");
  m.def("dense_membrane_energy", dense(DenseEnergy::membrane), py::arg("field"), py::arg("voxel_size"),
        "Membrane energy of a dense field of one channel, and its gradient.");
  m.def("dense_total_variation", dense(DenseEnergy::total_variation), py::arg("field"), py::arg("voxel_size"),
        "Total variation of a dense field of one channel, and its gradient.");
  m.def("gaussian_blur", &gaussian_blur, py::arg("image"), py::arg("sigma"), py::arg("axis"), py::arg("padding"),
        py::arg("truncate"), py::arg("adjoint") = false,
        "One channel blurred along one axis; padding is 0 (reflect), 1 (border) or 2 (zeros).");
  m.def("jacobian_determinant", &jacobian_determinant, py::arg("displacement"), py::arg("voxel_size"),
        "Jacobian determinant of a displacement [D, *S] in every cell.");
  m.def("jacobian_determinant_backward", &jacobian_determinant_backward, py::arg("grad"), py::arg("displacement"),
        py::arg("voxel_size"), "Its gradient to the displacement.");
  m.def("folding_penalty", &folding_penalty, py::arg("displacement"), py::arg("voxel_size"), py::arg("threshold"),
        "Penalty on folding of a displacement [D, *S], and its gradient.");
  m.def("warp", &warp, py::arg("image"), py::arg("displacement"), py::arg("interpolation"), py::arg("padding"),
        "warp of one channel; interpolation and padding by number.");
  m.def("warp_gradients", &warp_gradients, py::arg("grad"), py::arg("image"), py::arg("displacement"),
        py::arg("interpolation"), py::arg("padding"), "Its gradients to image and displacement.");
  define_tiled<float>(m);
  define_tiled<double>(m);
  m.def("instruction_set", &instruction_set, "Which clone of the CPU kernels runs on this machine.");
  m.attr("compiler") = MEDADV_COMPILER;
  m.attr("cuda_version") = MEDADV_CUDA_VERSION;
  m.attr("cuda_architectures") = MEDADV_CUDA_ARCHITECTURES;
}
