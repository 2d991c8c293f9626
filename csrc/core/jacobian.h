// The Jacobian determinant of x -> x + u(x), cell by cell, and what is built on it.
//
// A cell lies between 2 x 2 (x 2) voxels; its determinant is that of G = I + forward differences / h at the voxel it
// starts from, so there is one cell less than voxels along every axis. Components of u come in the order of the axes.
#pragma once

#include "core/volume.h"

namespace medadv {

// G and its determinant; kAxes is 2 or 3.
template <typename T, int kAxes>
struct Deformation {
  T g[kAxes][kAxes];  // component, axis

  MEDADV_HD T determinant() const {
    if constexpr (kAxes == 2)
      return g[0][0] * g[1][1] - g[0][1] * g[1][0];
    else
      return g[0][0] * (g[1][1] * g[2][2] - g[1][2] * g[2][1]) + g[0][1] * (g[1][2] * g[2][0] - g[1][0] * g[2][2]) +
             g[0][2] * (g[1][0] * g[2][1] - g[1][1] * g[2][0]);
  }

  // The determinant's derivative by g[c][a].
  MEDADV_HD T cofactor(int c, int a) const {
    if constexpr (kAxes == 2) {
      return c == a ? g[1 - c][1 - a] : -g[1 - c][1 - a];
    } else {
      const int c1 = (c + 1) % 3, c2 = (c + 2) % 3, a1 = (a + 1) % 3, a2 = (a + 2) % 3;
      return g[c1][a1] * g[c2][a2] - g[c1][a2] * g[c2][a1];
    }
  }
};

template <typename T, typename S, int kAxes>
struct JacobianStencil {
  Volume size;         // voxels
  T inverse[3];        // 1 / length of a voxel along depth, height, width
  const S* u;

  MEDADV_HD Volume cells() const { return {kAxes == 3 ? size.z - 1 : 1, size.y - 1, size.x - 1}; }
  MEDADV_HD T inverse_length(int axis) const { return inverse[axis + 3 - kAxes]; }
  MEDADV_HD int64_t stride(int axis) const {
    return axis == kAxes - 1 ? 1 : axis == kAxes - 2 ? int64_t(size.x) : size.plane();
  }

  MEDADV_HD Deformation<T, kAxes> at(int64_t example, int32_t z, int32_t y, int32_t x) const {
    Deformation<T, kAxes> d;
    for (int c = 0; c < kAxes; ++c) {
      const S* v = u + (example * kAxes + c) * size.voxels() + size.offset(z, y, x);
      for (int a = 0; a < kAxes; ++a) d.g[c][a] = (T(v[stride(a)]) - T(v[0])) * inverse_length(a) + T(c == a);
    }
    return d;
  }
};

template <typename T, typename S, int kAxes>
struct DeterminantCell {
  JacobianStencil<T, S, kAxes> stencil;
  S* out;

  MEDADV_HD void operator()(int64_t example, int32_t z, int32_t y, int32_t x) const {
    const Volume cells = stencil.cells();
    out[example * cells.voxels() + cells.offset(z, y, x)] = S(stencil.at(example, z, y, x).determinant());
  }
};

// How far a determinant is below the threshold.
template <typename T>
MEDADV_HD T shortfall(T threshold, T determinant) {
  const T missing = threshold - determinant;
  return missing < 0 ? T(0) : missing;  // what is not a number stays visible
}

template <typename T, typename S, int kAxes>
struct FoldingCell {
  JacobianStencil<T, S, kAxes> stencil;
  T threshold;

  MEDADV_HD T operator()(int64_t example, int32_t z, int32_t y, int32_t x) const {
    const T s = shortfall(threshold, stencil.at(example, z, y, x).determinant());
    return s * s;
  }
};

// Derivatives of an objective by the determinant of a cell: of one that is given by its gradient, and of the penalty.
template <typename S>
struct GivenForce {
  const S* grad;

  template <typename T>
  MEDADV_HD T operator()(int64_t, int64_t cell, T) const {
    return T(grad[cell]);
  }
};

struct FoldingForce {
  double threshold, weight;  // weight: 1 / cells
  const double* scale;       // per example

  template <typename T>
  MEDADV_HD T operator()(int64_t example, int64_t, T determinant) const {
    return T(-2 * weight * scale[example]) * shortfall(T(threshold), determinant);
  }
};

// The gradient to the displacement of one voxel: from the cell that starts there, and those that end there.
template <typename T, typename S, int kAxes, typename Force>
struct JacobianGradientVoxel {
  JacobianStencil<T, S, kAxes> stencil;
  Force force;
  S* out;

  MEDADV_HD void operator()(int64_t example, int32_t z, int32_t y, int32_t x) const {
    const Volume& size = stencil.size;
    T sum[kAxes] = {};
    add(example, z, y, x, -1, sum);
    for (int a = 0; a < kAxes; ++a)
      add(example, z - (a == kAxes - 3), y - (a == kAxes - 2), x - (a == kAxes - 1), a, sum);
    for (int c = 0; c < kAxes; ++c)
      out[(example * kAxes + c) * size.voxels() + size.offset(z, y, x)] = S(sum[c]);
  }

 private:
  // Of a cell that ends at the voxel along `axis`, or starts there (-1).
  MEDADV_HD void add(int64_t example, int32_t z, int32_t y, int32_t x, int axis, T (&sum)[kAxes]) const {
    const Volume cells = stencil.cells();
    if (z < 0 || y < 0 || x < 0 || z >= cells.z || y >= cells.y || x >= cells.x) return;
    const Deformation<T, kAxes> d = stencil.at(example, z, y, x);
    const T f = force(example, example * cells.voxels() + cells.offset(z, y, x), d.determinant());
    for (int c = 0; c < kAxes; ++c)
      for (int a = 0; a < kAxes; ++a)
        if (axis == a)
          sum[c] += f * d.cofactor(c, a) * stencil.inverse_length(a);
        else if (axis < 0)
          sum[c] -= f * d.cofactor(c, a) * stencil.inverse_length(a);
  }
};

}  // namespace medadv
