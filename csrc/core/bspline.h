// The uniform cubic B-spline along one axis.
//
// A lattice of K >= 4 control points spans an axis of S voxels exactly: voxel i sits at
// u = i (K - 3) / (S - 1), in cell floor(u), and is reached by the control points cell ... cell + 3.
#pragma once

#include <cstdint>

#include "core/platform.h"

namespace medadv {

// Weights of the four control points around position t in [0, 1] of a cell.
template <typename T>
MEDADV_HD void cubic_weights(T t, T w[4]) {
  const T s = T(1) - t, sixth = T(1) / T(6);
  w[0] = s * s * s * sixth;
  w[1] = (T(4) - T(3) * t * t * (T(2) - t)) * sixth;
  w[2] = (T(4) - T(3) * s * s * (T(2) - s)) * sixth;
  w[3] = t * t * t * sixth;
}

// Their first and second derivatives by t.
template <typename T>
MEDADV_HD void cubic_derivative(int order, T t, T w[4]) {
  const T s = T(1) - t, half = T(1) / T(2);
  const bool first = order == 1;
  w[0] = first ? -s * s * half : s;
  w[1] = first ? t * (T(3) * t - T(4)) * half : T(3) * t - T(2);
  w[2] = first ? s * (T(4) - T(3) * s) * half : T(3) * s - T(2);
  w[3] = first ? t * t * half : t;
}

// The spline of one cell in powers of t: c0 + t (c1 + t (c2 + t c3)).
template <typename T>
MEDADV_HD void cubic_coefficients(T p0, T p1, T p2, T p3, T c[4]) {
  const T sixth = T(1) / T(6), half = T(1) / T(2);
  c[0] = (p0 + T(4) * p1 + p2) * sixth;
  c[1] = (p2 - p0) * half;
  c[2] = (p0 - T(2) * p1 + p2) * half;
  c[3] = (p3 - p0 + T(3) * (p1 - p2)) * sixth;
}

// Derivatives of c0 + t (c1 + t (c2 + t c3)) by t, in its place.
template <typename T>
MEDADV_HD void differentiate_cubic(int order, T c[4]) {
  for (; order > 0; --order) {
    c[0] = c[1];
    c[1] = T(2) * c[2];
    c[2] = T(3) * c[3];
    c[3] = T(0);
  }
}

// S voxels under K control points. One control point and one voxel stand for an axis that is not there
// (the depth of a 2D image).
struct Axis {
  int32_t size;            // voxels
  int32_t knots;           // control points
  int32_t derivative = 0;  // of the field along the axis: 0, 1 or 2
  double scale = 1;        // of that derivative's weights: (cells per unit of length)^derivative

  // The axis of a derivative per unit of length, of which a voxel has `voxel`. At least two voxels.
  Axis differentiated(int32_t order, double voxel) const {
    const double per_unit = double(knots - 3) / (double(size - 1) * voxel);
    return {size, knots, order, order == 0 ? 1 : order == 1 ? per_unit : per_unit * per_unit};
  }

  MEDADV_HD bool absent() const { return knots == 1; }
  MEDADV_HD int32_t taps() const { return absent() ? 1 : 4; }
  MEDADV_HD int32_t cells() const { return absent() ? 1 : knots - 3; }

  // Cell of voxel i, and the voxel's position t in it. The product i (K - 3) stays below 2^31: checked
  // where tensors come in. Integers, so that a position does not depend on the compiler's rounding.
  template <typename T>
  MEDADV_HD int32_t locate(int32_t i, T& t) const {
    t = T(0);
    if (absent() || size == 1) return 0;
    const uint32_t steps = uint32_t(size - 1), position = uint32_t(i) * uint32_t(knots - 3);
    uint32_t cell = position / steps;
    if (cell == uint32_t(knots - 3)) --cell;  // the last voxel closes the last cell
    t = T(position - cell * steps) / T(steps);
    return int32_t(cell);
  }

  // Weights of voxel i's control points; the first of them is returned.
  template <typename T>
  MEDADV_HD int32_t stencil(int32_t i, T w[4]) const {
    T t;
    const int32_t cell = locate(i, t);
    if (absent()) {
      w[0] = T(1);
      w[1] = w[2] = w[3] = T(0);
    } else if (derivative == 0) {
      cubic_weights(t, w);
    } else {
      cubic_derivative(derivative, t, w);
      for (int k = 0; k < 4; ++k) w[k] *= T(scale);
    }
    return cell;
  }

  // First voxel of a cell, or `size` for the cell past the last one: the smallest i with
  // i (K - 3) >= cell (S - 1).
  MEDADV_HD int32_t begin(int32_t cell) const {
    if (cell <= 0) return 0;
    if (cell >= cells() || size == 1) return size;
    return int32_t((uint32_t(cell) * uint32_t(size - 1) + uint32_t(knots - 4)) / uint32_t(knots - 3));
  }
};

// The lattice of one image: depth, height, width.
struct Lattice {
  Axis z, y, x;

  MEDADV_HD int64_t voxels() const { return int64_t(z.size) * y.size * x.size; }
  MEDADV_HD int64_t knots() const { return int64_t(z.knots) * y.knots * x.knots; }

  // The lattice of a derivative: orders along depth, height and width, per unit of length, of which a voxel has
  // these.
  Lattice differentiated(const int32_t order[3], const double voxel[3]) const {
    return {z.differentiated(order[0], voxel[0]), y.differentiated(order[1], voxel[1]),
            x.differentiated(order[2], voxel[2])};
  }
};

}  // namespace medadv
