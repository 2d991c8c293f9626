// The Jacobian determinant of x -> x + B(c)(x) for the displacement of a B-spline lattice, at every voxel: that of
// G = I + the derivatives of the spline, which are exact and exist at the last voxel too.
//
// The derivative along an axis is the field of a lattice with other weights along that axis; the gradient of an
// objective to the lattice is the sum over the axes of the adjoints of those fields, applied to the objective's
// derivatives by G, which are a force times G's cofactors.
#pragma once

#include "core/jacobian.h"
#include "core/spline_field.h"

namespace medadv {

// The lattices of the derivatives along every axis, per unit of length; kAxes is 2 or 3.
template <int kAxes>
struct SplineSlopes {
  Lattice along[kAxes];

  // voxel: lengths of a voxel along depth, height, width.
  SplineSlopes(const Lattice& g, const double voxel[3]) {
    for (int a = 0; a < kAxes; ++a) {
      int32_t order[3] = {0, 0, 0};
      order[a + 3 - kAxes] = 1;
      along[a] = g.differentiated(order, voxel);
    }
  }

  MEDADV_HD int64_t voxels() const { return along[0].voxels(); }
  MEDADV_HD int64_t knots() const { return along[0].knots(); }

  // The derivative of one component along an axis, a call of its own: written out for every component and axis, these
  // sums of 64 terms take compilers for GPUs minutes.
  template <typename T, typename S>
  MEDADV_HD_CALL static T slope(const Lattice& along, const S* c, int32_t z, int32_t y, int32_t x) {
    return Stencil<T>(along, z, y, x).gather(along, c);
  }

  // G at one voxel; c: the lattice of one example, [kAxes, knots].
  template <typename T, typename S>
  MEDADV_HD Deformation<T, kAxes> at(const S* c, int32_t z, int32_t y, int32_t x) const {
    Deformation<T, kAxes> d;
    MEDADV_UNROLL_BY(kAxes)
    for (int a = 0; a < kAxes; ++a) {
      MEDADV_UNROLL_BY(kAxes)
      for (int k = 0; k < kAxes; ++k) d.g[k][a] = slope<T>(along[a], c + k * knots(), z, y, x) + T(k == a);
    }
    return d;
  }
};

}  // namespace medadv
