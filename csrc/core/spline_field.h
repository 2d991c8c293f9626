// The cubic B-spline field of a lattice, voxel by voxel: the definition that every faster path must match.
#pragma once

#include "core/bspline.h"
#include "core/quad.h"

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
    for (int a = 0; a < 4; ++a)
      for (int b = 0; b < 4; ++b) {
        if (a >= g.z.taps()) continue;  // bounds that the compiler knows keep the weights in registers
        const S* row = c + (int64_t(z + a) * g.y.knots + (y + b)) * g.x.knots + x;
        sum += wz[a] * wy[b] * (wx[0] * T(row[0]) + wx[1] * T(row[1]) + wx[2] * T(row[2]) + wx[3] * T(row[3]));
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

// What an operator does at voxel `at`, where the field is `field`; and at n <= 4 neighbours from `at` on.
// Of spline_field: y = B(c).
template <typename T, typename S>
struct FieldVoxel {
  S* out;
  bool aligned = false;

  MEDADV_HD void operator()(int64_t at, T field) const { out[at] = S(field); }
  MEDADV_HD void quad(int64_t at, int32_t n, const T field[4]) const { store_quad(out + at, n, aligned, field); }
};

// Channels of an image, and how many of them share one lattice (all of them, or each its own).
struct Channels {
  int64_t count;     // examples times channels
  int64_t per_knot;  // channels that share a lattice: C for one lattice per example, else 1

  // Counts stay below 2^31 (checked where tensors come in): a GPU divides 32 bits far faster than 64.
  MEDADV_HD int64_t lattice_of(int64_t channel) const { return uint32_t(channel) / uint32_t(per_knot); }
  MEDADV_HD int64_t lattices() const { return lattice_of(count); }
};

// Evaluates the field at voxel (z, y, x) of a channel, and calls voxel(at, field) there.
template <typename T, typename S, typename Voxel>
struct SplineField {
  Lattice g;
  Channels channels;
  const S* c;
  Voxel voxel;

  MEDADV_HD void operator()(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    const T field = Stencil<T>(g, z, y, x).gather(g, c + channels.lattice_of(channel) * g.knots());
    voxel(channel * g.voxels() + (int64_t(z) * g.y.size + y) * g.x.size + x, field);
  }
};

// The gradient to a field is its force on the lattice. Of spline_field: the gradient to its output.
template <typename T, typename S>
struct FieldForce {
  const S* grad;
  bool aligned = false;

  MEDADV_HD T operator()(int64_t at) const { return T(grad[at]); }
  MEDADV_HD void quad(int64_t at, int32_t n, const T*, T force[4]) const { load_quad(grad + at, n, aligned, force); }
};

// The adjoint, control point by control point: weight times force, summed over its reach and over the
// channels that share the lattice.
template <typename T, typename S, typename Force>
struct SplineAdjoint {
  Lattice g;
  Channels channels;
  Force force;
  S* grad_c;

  MEDADV_HD void operator()(int64_t lattice, int32_t kz, int32_t ky, int32_t kx) const {
    T sum = 0;
    for (int64_t channel = lattice * channels.per_knot; channel < (lattice + 1) * channels.per_knot; ++channel)
      for (int32_t z = reach_begin(g.z, kz); z < reach_end(g.z, kz); ++z)
        for (int32_t y = reach_begin(g.y, ky); y < reach_end(g.y, ky); ++y) {
          const int64_t row = channel * g.voxels() + (int64_t(z) * g.y.size + y) * g.x.size;
          T line = 0;
          for (int32_t x = reach_begin(g.x, kx); x < reach_end(g.x, kx); ++x)
            line += weight_at<T>(g.x, kx, x) * force(row + x);
          sum += weight_at<T>(g.z, kz, z) * weight_at<T>(g.y, ky, y) * line;
        }
    grad_c[lattice * g.knots() + (int64_t(kz) * g.y.knots + ky) * g.x.knots + kx] = S(sum);
  }
};

}  // namespace medadv
