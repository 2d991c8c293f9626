// Thin-plate splines through the points q_k of a regular grid over [-1, 1] along every axis:
//
//   f(p) = sum_k weight_k phi(|p - q_k|) + weight_K + sum_d weight_(K+1+d) p_d
//
// with phi(r) = r^2 log r^2 in 2D and r in 3D (Duchon 1977): of all functions through given values at the q_k, the one
// that bends least. The weights follow from the values by one linear map per grid, see medadv/ops/thin_plate_spline.py.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/platform.h"

namespace medadv {

// Coordinate in [-1, 1] of point i of n along an axis; 0 where there is only one.
template <typename T>
MEDADV_HD T coordinate(int32_t i, int32_t n) {
  return n == 1 ? T(0) : T(2 * int64_t(i) - (n - 1)) / T(n - 1);
}

// Control points along depth (1 in 2D), height and width.
struct ControlGrid {
  int32_t z, y, x;
  int32_t axes;

  MEDADV_HD int32_t points() const { return z * y * x; }
  MEDADV_HD int32_t rows() const { return points() + 1 + axes; }
};

MEDADV_HD float exact_log(float v) { return logf(v); }
MEDADV_HD double exact_log(double v) { return log(v); }
MEDADV_HD float exact_root(float v) { return sqrtf(v); }
MEDADV_HD double exact_root(double v) { return sqrt(v); }

inline constexpr float kLeastSquare = 1e-37f;  // keeps the logarithm of a distance finite: 0 log 0 = 0

template <typename T>
MEDADV_HD T thin_plate_kernel(int32_t axes, T square) {
  if (axes == 3) return exact_root(square);
  return square * exact_log(square > T(kLeastSquare) ? square : T(kLeastSquare));
}

// What the weight of row k is multiplied by at p (depth, height, width).
template <typename T>
MEDADV_HD T thin_plate_row(const ControlGrid& g, int32_t k, const T (&p)[3]) {
  if (k >= g.points()) {
    const int32_t d = k - g.points() - 1 + 3 - g.axes;
    return k == g.points() ? T(1) : d == 0 ? p[0] : d == 1 ? p[1] : p[2];
  }
  const int32_t line = int32_t(uint32_t(k) / uint32_t(g.x)), plane = int32_t(uint32_t(line) / uint32_t(g.y));
  const T dz = p[0] - coordinate<T>(plane, g.z), dy = p[1] - coordinate<T>(line - plane * g.y, g.y);
  const T dx = p[2] - coordinate<T>(k - line * g.x, g.x);
  return thin_plate_kernel(g.axes, dz * dz + dy * dy + dx * dx);
}

// Calls f(k, values) for every row, values being thin_plate_row at kCount points (w, v, u[i]) of one row of voxels.
template <int kCount, typename T, typename F>
MEDADV_HD void for_each_thin_plate_row(const ControlGrid& g, T w, T v, const T (&u)[kCount], F f) {
  T values[kCount];
  int32_t k = 0;
  MEDADV_UNROLL_BY(1)
  for (int32_t z = 0; z < g.z; ++z)
    MEDADV_UNROLL_BY(1)
    for (int32_t y = 0; y < g.y; ++y) {
      const T dz = w - coordinate<T>(z, g.z), dy = v - coordinate<T>(y, g.y), far = dz * dz + dy * dy;
      MEDADV_UNROLL_BY(1)
      for (int32_t x = 0; x < g.x; ++x) {
        const T at = coordinate<T>(x, g.x);
        for (int i = 0; i < kCount; ++i) values[i] = thin_plate_kernel(g.axes, far + (u[i] - at) * (u[i] - at));
        f(k++, values);
      }
    }
  for (int i = 0; i < kCount; ++i) values[i] = T(1);
  f(k++, values);
  for (int i = 0; i < kCount; ++i) values[i] = w;
  if (g.axes == 3) f(k++, values);
  for (int i = 0; i < kCount; ++i) values[i] = v;
  f(k++, values);
  f(k, u);
}

}  // namespace medadv
