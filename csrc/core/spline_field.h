// The cubic B-spline field of a lattice, voxel by voxel: the definition that every faster path must match.
#pragma once

#include "core/bspline.h"

namespace medadv {

// The control points that reach one voxel: up to 64, with separable weights.
template <typename T>
struct Stencil {
  int32_t z, y, x;
  T wz[4], wy[4], wx[4];

  MEDADV_HD Stencil(const Lattice& g, int32_t iz, int32_t iy, int32_t ix)
      : z(g.z.stencil(iz, wz)), y(g.y.stencil(iy, wy)), x(g.x.stencil(ix, wx)) {}

  // Sum of weight times control point; c is one channel of the lattice.
  template <typename S>
  MEDADV_HD T gather(const Lattice& g, const S* c) const {
    T sum = 0;
    for (int a = 0; a < g.z.taps(); ++a)
      for (int b = 0; b < g.y.taps(); ++b) {
        const S* row = c + (int64_t(z + a) * g.y.knots + (y + b)) * g.x.knots + x;
        T line = 0;
        for (int k = 0; k < 4; ++k) line += wx[k] * T(row[k]);
        sum += wz[a] * wy[b] * line;
      }
    return sum;
  }
};

// Weight of control point `knot` at voxel i, 0 out of its reach.
template <typename T>
MEDADV_HD T weight_at(const Axis& axis, int32_t knot, int32_t i) {
  T w[4];
  const int32_t k = knot - axis.stencil(i, w);
  return k == 0 ? w[0] : k == 1 ? w[1] : k == 2 ? w[2] : k == 3 ? w[3] : T(0);
}

// Voxels [begin, end) that control point `knot` reaches: those of the cells knot - 3 ... knot.
MEDADV_HD int32_t reach_begin(const Axis& axis, int32_t knot) { return axis.absent() ? 0 : axis.begin(knot - 3); }
MEDADV_HD int32_t reach_end(const Axis& axis, int32_t knot) {
  return axis.absent() ? axis.size : axis.begin(knot + 1);
}

// y = B(c), for voxel (z, y, x) of channel `channel`.
template <typename T, typename S>
struct SplineField {
  Lattice g;
  const S* c;
  S* out;

  MEDADV_HD void operator()(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    const Stencil<T> s(g, z, y, x);
    const int64_t at = (int64_t(z) * g.y.size + y) * g.x.size + x;
    out[channel * g.voxels() + at] = S(s.gather(g, c + channel * g.knots()));
  }
};

// The adjoint of SplineField, control point by control point: the sum of weight times gradient over its reach.
template <typename T, typename S>
struct SplineFieldAdjoint {
  Lattice g;
  const S* grad;
  T* grad_c;

  MEDADV_HD void operator()(int64_t channel, int32_t kz, int32_t ky, int32_t kx) const {
    const S* image = grad + channel * g.voxels();
    T sum = 0;
    for (int32_t z = reach_begin(g.z, kz); z < reach_end(g.z, kz); ++z)
      for (int32_t y = reach_begin(g.y, ky); y < reach_end(g.y, ky); ++y) {
        T line = 0;
        for (int32_t x = reach_begin(g.x, kx); x < reach_end(g.x, kx); ++x)
          line += weight_at<T>(g.x, kx, x) * T(image[(int64_t(z) * g.y.size + y) * g.x.size + x]);
        sum += weight_at<T>(g.z, kz, z) * weight_at<T>(g.y, ky, y) * line;
      }
    grad_c[channel * g.knots() + (int64_t(kz) * g.y.knots + ky) * g.x.knots + kx] = sum;
  }
};

}  // namespace medadv
