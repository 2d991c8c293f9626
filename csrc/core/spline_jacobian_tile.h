// Jacobians of a lattice's displacement tile by tile, as a block of GPU threads computes them: the tiles of
// core/spline_tile.h, with lines of control points for every derivative. These are many, so they are filled for some
// rows of a tile at a time.
#pragma once

#include "core/spline_jacobian.h"
#include "core/spline_tile.h"

namespace medadv {

// Rows of a tile whose lines are in shared memory at a time.
template <typename T>
inline constexpr int kSlopeRows = kTileRows<T> / 2;

template <typename T, int kAxes>
struct TileSlopes {
  static constexpr int kY = kAxes - 2, kX = kAxes - 1;  // axes of the height and the width

  TileWeights<T> weights[kAxes];                               // of the derivative along an axis
  T patch[kAxes - 1][kTileKnotsY][kTileKnotsX];                // summed over depth: the field, and its derivative
  T line[kAxes][kAxes][kSlopeRows<T>][kTileKnotsX];            // component, axis

  // Calls voxel(thread, example, at, deformation) for every voxel of a tile, `at` counted from the start of the
  // example; plane = example * depth + z. c: the lattice of that example. On a lattice too fine for tiles every voxel
  // gathers its own control points.
  template <typename Team, typename S, typename Voxel>
  MEDADV_HD void run(const Team& team, const Tiling<T>& tiling, const SplineSlopes<kAxes>& slopes,
                     const TileIndex& tile, int64_t example, int32_t z, const S* c, const Voxel& voxel) {
    const Lattice& g = tiling.g;
    const bool fits = tiling.fits();
    if (fits)
      for (int a = 0; a < kAxes; ++a) {
        Tiling<T> along = tiling;
        along.g = slopes.along[a];
        weights[a].fill(team, along, tile);
      }
    const int32_t y0 = tile.y * kTileRows<T>, x0 = tile.x * kTileWidth;
    const int32_t rows = smaller(kTileRows<T>, g.y.size - y0), width = smaller(kTileWidth, g.x.size - x0);
    for (int32_t first = 0; first < rows; first += kSlopeRows<T>) {
      if (fits)
        for (int k = 0; k < kAxes; ++k) fill(team, tiling, slopes, k, first, z, c + k * g.knots());
      team.each([&](int t) {
        const int32_t x = t % kTileWidth;
        if (x >= width) return;
        MEDADV_UNROLL_BY(1)
        for (int32_t row = first + t / kTileWidth; row < smaller(first + kSlopeRows<T>, rows);
             row += Team::size / kTileWidth) {
          const int64_t at = (int64_t(z) * g.y.size + y0 + row) * g.x.size + x0 + x;
          voxel(t, example, at,
                fits ? deformation(row - first, x) : slopes.template at<T>(c, z, y0 + row, x0 + x));
        }
      });
    }
  }

 private:
  // Lines of one component, for rows from `first` on; c: that component's lattice.
  template <typename Team, typename S>
  MEDADV_HD void fill(const Team& team, const Tiling<T>& tiling, const SplineSlopes<kAxes>& slopes, int component,
                      int32_t first, int32_t z, const S* c) {
    const Lattice& g = tiling.g;
    const int32_t nx = tiling.knots_x, ny = tiling.knots_y;
    team.each([&](int t) {
      T w[kAxes - 1][4];
      const int32_t kz = g.z.stencil(z, w[0]);
      if constexpr (kAxes == 3) slopes.along[0].z.stencil(z, w[1]);
      for (int i = t; i < nx * ny; i += Team::size) {
        const int32_t y = i / nx, x = i - y * nx;
        const int32_t ky = smaller(weights[0].first_y + y, g.y.knots - 1);
        const int32_t kx = smaller(weights[0].first_x + x, g.x.knots - 1);
        const S* at = c + (int64_t(kz) * g.y.knots + ky) * g.x.knots + kx;
        T sum[kAxes - 1] = {};
        MEDADV_UNROLL_BY(4)
        for (int a = 0; a < 4; ++a) {
          if (a >= g.z.taps()) continue;
          const T value = T(at[int64_t(a) * g.y.knots * g.x.knots]);
          MEDADV_UNROLL_BY(2)
          for (int d = 0; d < kAxes - 1; ++d) sum[d] += w[d][a] * value;
        }
        MEDADV_UNROLL_BY(2)
        for (int d = 0; d < kAxes - 1; ++d) patch[d][y][x] = sum[d];
      }
    });
    team.each([&](int t) {
      for (int i = t; i < nx * kSlopeRows<T>; i += Team::size) {
        const int32_t r = i / nx, x = i - r * nx;
        MEDADV_UNROLL_BY(kAxes)
        for (int a = 0; a < kAxes; ++a) {
          const TileWeights<T>& w = weights[a];
          const T(&from)[kTileKnotsY][kTileKnotsX] = patch[a < kY ? 1 : 0];
          T sum = 0;
          for (int b = 0; b < 4; ++b) sum += w.wy[first + r][b] * from[w.knot_y[first + r] + b][x];
          line[component][a][r][x] = sum;
        }
      }
    });
  }

  MEDADV_HD Deformation<T, kAxes> deformation(int32_t row, int32_t x) const {
    Deformation<T, kAxes> d;
    MEDADV_UNROLL_BY(kAxes)
    for (int a = 0; a < kAxes; ++a) {
      const T* w = weights[a].wx[x];
      MEDADV_UNROLL_BY(kAxes)
      for (int k = 0; k < kAxes; ++k) {
        const T* at = &line[k][a][row][weights[a].knot_x[x]];
        d.g[k][a] = w[0] * at[0] + w[1] * at[1] + w[2] * at[2] + w[3] * at[3] + T(k == a);
      }
    }
    return d;
  }
};

// What happens at a voxel. out: [examples, voxels].
template <typename S>
struct SlopeDeterminant {
  int64_t voxels;
  S* out;

  template <typename T, int kAxes>
  MEDADV_HD void operator()(int64_t example, int64_t at, const Deformation<T, kAxes>& d) const {
    out[example * voxels + at] = S(d.determinant());
  }
};

// Forces on the derivatives along one axis, [examples, component, voxels].
template <typename T, int kAxes>
struct SlopeForces {
  int64_t voxels;
  int axis;
  T* out;

  // pull: on the determinant.
  MEDADV_HD void write(int64_t example, int64_t at, const Deformation<T, kAxes>& d, T pull) const {
    T* to = out + example * kAxes * voxels + at;
    MEDADV_UNROLL_BY(kAxes)
    for (int a = 0; a < kAxes; ++a) {
      if (a != axis) continue;  // an index that the compiler knows keeps the entries in registers
      MEDADV_UNROLL_BY(kAxes)
      for (int k = 0; k < kAxes; ++k) to[k * voxels] = pull * d.cofactor(k, a);
    }
  }
};

// Of an objective that is given by its gradient to the determinants, [examples, voxels].
template <typename T, typename S, int kAxes>
struct GivenSlopeForces {
  SlopeForces<T, kAxes> forces;
  const S* grad;

  MEDADV_HD void operator()(int64_t example, int64_t at, const Deformation<T, kAxes>& d) const {
    forces.write(example, at, d, T(grad[example * forces.voxels + at]));
  }
};

// Of the mean penalty on folding, and its term of the sum. No forces where those are null.
template <typename T, int kAxes>
struct FoldingSlopeForces {
  SlopeForces<T, kAxes> forces;
  T threshold;

  MEDADV_HD T operator()(int64_t example, int64_t at, const Deformation<T, kAxes>& d) const {
    const T s = shortfall(threshold, d.determinant());
    if (forces.out) forces.write(example, at, d, T(-2) * s / T(forces.voxels));
    return s * s;
  }
};

}  // namespace medadv
