// NumPy arrays as images and lattices of one channel, and loops over their voxels.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>
#include <vector>

#include "core/bspline.h"
#include "core/volume.h"
#include "core/warp.h"

namespace medadv {

namespace py = pybind11;

using Array = py::array_t<double, py::array::c_style>;

// Axes of a lattice [Gy, Gx] or [Gz, Gy, Gx] over an image of that many axes.
inline Lattice lattice_over(const std::vector<int64_t>& size, const std::vector<int64_t>& knots) {
  if (size.size() != knots.size() || size.size() < 2 || size.size() > 3)
    throw py::value_error("image and lattice must both have 2 or 3 axes");
  Axis axes[3] = {{1, 1}, {1, 1}, {1, 1}};
  for (size_t d = 0; d < size.size(); ++d) {
    if (knots[d] < 4) throw py::value_error("lattice must have at least 4 control points along every axis");
    axes[3 - size.size() + d] = {int32_t(size[d]), int32_t(knots[d])};
  }
  return {axes[0], axes[1], axes[2]};
}

inline std::vector<int64_t> shape_of(const Array& a) { return {a.shape(), a.shape() + a.ndim()}; }

template <typename F>
void for_each(const Axis& z, const Axis& y, const Axis& x, int32_t Axis::*extent, F f) {
  for (int32_t k = 0; k < z.*extent; ++k)
    for (int32_t j = 0; j < y.*extent; ++j)
      for (int32_t i = 0; i < x.*extent; ++i) f(0, k, j, i);
}

inline Volume volume_of(const std::vector<int64_t>& size) {
  if (size.size() < 2 || size.size() > 3) throw py::value_error("image must have 2 or 3 axes");
  return {size.size() == 3 ? int32_t(size[0]) : 1, int32_t(size[size.size() - 2]), int32_t(size.back())};
}

template <typename F>
void for_each(const Volume& size, F f) {
  for (int32_t z = 0; z < size.z; ++z)
    for (int32_t y = 0; y < size.y; ++y)
      for (int32_t x = 0; x < size.x; ++x) f(0, z, y, x);
}

inline std::vector<double> padded_sizes(std::vector<double> voxel_size) {
  voxel_size.insert(voxel_size.begin(), 3 - voxel_size.size(), 1.0);
  return voxel_size;
}

// The lattice of a derivative: its order along every axis, per unit of length.
inline Lattice differentiated(const Lattice& g, std::vector<int32_t> derivative, std::vector<double> voxel_size) {
  derivative.insert(derivative.begin(), 3 - derivative.size(), 0);
  return g.differentiated(derivative.data(), padded_sizes(std::move(voxel_size)).data());
}

inline Sampling sampling_over(const std::vector<int64_t>& size, int64_t channels, int interpolation, int padding) {
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

}  // namespace medadv
