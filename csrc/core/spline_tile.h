// B-spline fields tile by tile, as a block of GPU threads computes them.
//
// A tile is kTileWidth voxels of kTileRows<T> rows of one plane. Its control points are summed over depth
// once, and over height once per row, in shared memory; a voxel then costs four multiply-adds. Backwards
// the same steps run in reverse: forces are summed over the rows, then over the width, and a tile leaves
// partial sums of its control points, which a second kernel gathers. Fixed orders, no atomics.
#pragma once

#include "core/spline_field.h"
#include "core/team.h"

namespace medadv {

inline constexpr int kTileThreads = 256;
inline constexpr int kTileWidth = 128;
inline constexpr int kQuad = 4;  // voxels of a row that one thread handles: one vector load
inline constexpr int kTileKnotsX = 40, kTileKnotsY = 12;
inline constexpr int kParts = 4;  // threads that share the sum over the width of one control point
inline constexpr int kGatherThreads = 32;

// float64 takes half the rows, so that a tile fits the 48 KiB of shared memory that every GPU has.
template <typename T>
inline constexpr int kTileRows = sizeof(T) == 8 ? 16 : 32;

MEDADV_HD int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
MEDADV_HD int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

// Control points that reach `voxels` consecutive voxels of an axis, at most.
MEDADV_HD int32_t knots_over(const Axis& axis, int32_t voxels) {
  if (axis.size == 1) return 4;
  const uint32_t steps = uint32_t(smaller(voxels, axis.size) - 1) * uint32_t(axis.knots - 3);
  return smaller(axis.knots, int32_t(steps / uint32_t(axis.size - 1)) + 5);
}

template <typename T>
struct Tiling {
  Lattice g;
  int32_t x, y;              // tiles along the width and the height
  int32_t knots_x, knots_y;  // control points of a tile, at most

  MEDADV_HD explicit Tiling(const Lattice& lattice)
      : g(lattice), x((g.x.size + kTileWidth - 1) / kTileWidth), y((g.y.size + kTileRows<T> - 1) / kTileRows<T>),
        knots_x(knots_over(g.x, kTileWidth)), knots_y(knots_over(g.y, kTileRows<T>)) {}

  // False for lattices nearly as fine as the image, which would not fit a tile.
  MEDADV_HD bool fits() const { return knots_x <= kTileKnotsX && knots_y <= kTileKnotsY; }

  // Partial sums: [plane, tile y, tile x, knots_y, knots_x].
  MEDADV_HD int64_t partials(int64_t planes) const { return planes * y * x * knots_y * knots_x; }
  MEDADV_HD int64_t partial_of(int64_t plane, int32_t ty, int32_t tx) const {
    return ((plane * y + ty) * x + tx) * knots_y * knots_x;
  }
};

// Which tile a block works on: plane = channel * depth + z.
struct TileIndex {
  int64_t plane;
  int32_t y, x;
};

// Weights of a tile's rows and columns; knots are counted from the tile's first.
template <typename T>
struct TileWeights {
  int32_t first_y, first_x, rows, width;
  T wy[kTileRows<T>][4], wx[kTileWidth][4];
  int32_t knot_y[kTileRows<T>], knot_x[kTileWidth];

  template <typename Team>
  MEDADV_HD void fill(const Team& team, const Tiling<T>& tiling, const TileIndex& tile) {
    const int32_t y0 = tile.y * kTileRows<T>, x0 = tile.x * kTileWidth;
    const Lattice& g = tiling.g;
    team.each([&](int t) {
      T unused;
      const int32_t begin_y = g.y.locate(y0, unused), begin_x = g.x.locate(x0, unused);
      if (t == 0) {
        first_y = begin_y;
        first_x = begin_x;
        rows = smaller(kTileRows<T>, g.y.size - y0);
        width = smaller(kTileWidth, g.x.size - x0);
      }
      if (t < kTileWidth) knot_x[t] = g.x.stencil(smaller(x0 + t, g.x.size - 1), wx[t]) - begin_x;
      const int32_t r = t - kTileWidth;
      if (r >= 0 && r < kTileRows<T>) knot_y[r] = g.y.stencil(smaller(y0 + r, g.y.size - 1), wy[r]) - begin_y;
    });
  }
};

// Control points of a tile: summed over depth, then over height for every row.
template <typename T>
struct TileLines {
  T patch[kTileKnotsY][kTileKnotsX], line[kTileRows<T>][kTileKnotsX];

  // c: one channel of the lattice.
  template <typename Team, typename S>
  MEDADV_HD void fill(const Team& team, const Tiling<T>& tiling, const TileWeights<T>& w, int32_t z, const S* c) {
    const Lattice& g = tiling.g;
    const int32_t nx = tiling.knots_x, ny = tiling.knots_y;
    team.each([&](int t) {
      T wz[4];
      const int32_t kz = g.z.stencil(z, wz);
      for (int i = t; i < nx * ny; i += Team::size) {
        const int32_t y = i / nx, x = i - y * nx;
        const int32_t ky = smaller(w.first_y + y, g.y.knots - 1), kx = smaller(w.first_x + x, g.x.knots - 1);
        const S* at = c + (int64_t(kz) * g.y.knots + ky) * g.x.knots + kx;
        T sum = wz[0] * T(at[0]);
        if (!g.z.absent())
          for (int a = 1; a < 4; ++a) sum += wz[a] * T(at[int64_t(a) * g.y.knots * g.x.knots]);
        patch[y][x] = sum;
      }
    });
    team.each([&](int t) {
      for (int i = t; i < nx * kTileRows<T>; i += Team::size) {
        const int32_t r = i / nx, x = i - r * nx;
        T sum = 0;
        for (int b = 0; b < 4; ++b) sum += w.wy[r][b] * patch[w.knot_y[r] + b][x];
        line[r][x] = sum;
      }
    });
  }

  MEDADV_HD T field(const TileWeights<T>& w, int32_t row, int32_t x) const {
    const T* at = &line[row][w.knot_x[x]];
    return w.wx[x][0] * at[0] + w.wx[x][1] * at[1] + w.wx[x][2] * at[2] + w.wx[x][3] * at[3];
  }
};

// Calls voxel(at, field) for every voxel of a tile; `at` counts from the start of the image.
template <typename T>
struct TileForward {
  TileWeights<T> weights;
  TileLines<T> lines;

  template <typename Team, typename S, typename Voxel>
  MEDADV_HD void run(const Team& team, const Tiling<T>& tiling, const TileIndex& tile, int32_t z, const S* c,
                     const Voxel& voxel) {
    weights.fill(team, tiling, tile);
    lines.fill(team, tiling, weights, z, c);
    const Lattice& g = tiling.g;
    const int64_t origin = (tile.plane * g.y.size + int64_t(tile.y) * kTileRows<T>) * g.x.size + tile.x * kTileWidth;
    team.each([&](int t) {
      constexpr int lanes = kTileWidth / kQuad;
      const int32_t x0 = t % lanes * kQuad;
      for (int32_t row = t / lanes; row < weights.rows; row += Team::size / lanes) {
        T field[kQuad];
        for (int q = 0; q < kQuad; ++q) field[q] = lines.field(weights, row, x0 + q);
        voxel.quad(origin + int64_t(row) * g.x.size + x0, smaller(kQuad, weights.width - x0), field);
      }
    });
  }
};

// The partial sums of a tile's control points. Force: called for every voxel with the field there (which
// is 0 where c is null).
template <typename T>
struct TileBackward {
  TileWeights<T> weights;
  union {
    T force[kTileRows<T>][kTileWidth];
    T part[kTileKnotsY][kTileKnotsX][kParts];
  };
  union {
    TileLines<T> lines;
    T column[kTileKnotsY][kTileWidth];
  };

  template <typename Team, typename S, typename Force>
  MEDADV_HD void run(const Team& team, const Tiling<T>& tiling, const TileIndex& tile, int32_t z, const S* c,
                     const Force& get_force, T* partial) {
    weights.fill(team, tiling, tile);
    if (c) lines.fill(team, tiling, weights, z, c);
    collect(team, tiling, tile, c != nullptr, get_force);
    sum_rows(team, tiling);
    sum_width(team, tiling);
    const int32_t nx = tiling.knots_x, n = nx * tiling.knots_y;
    team.each([&](int t) {
      for (int i = t; i < n; i += Team::size) {
        const T* p = part[i / nx][i % nx];
        partial[i] = (p[0] + p[1]) + (p[2] + p[3]);
      }
    });
  }

 private:
  template <typename Team, typename Force>
  MEDADV_HD void collect(const Team& team, const Tiling<T>& tiling, const TileIndex& tile, bool with_field,
                         const Force& get_force) {
    const Lattice& g = tiling.g;
    const int64_t origin = (tile.plane * g.y.size + int64_t(tile.y) * kTileRows<T>) * g.x.size + tile.x * kTileWidth;
    team.each([&](int t) {
      constexpr int lanes = kTileWidth / kQuad;
      const int32_t x0 = t % lanes * kQuad;
      for (int32_t row = t / lanes; row < kTileRows<T>; row += Team::size / lanes) {
        T field[kQuad] = {0, 0, 0, 0}, f[kQuad] = {0, 0, 0, 0};
        if (with_field)
          for (int q = 0; q < kQuad; ++q) field[q] = lines.field(weights, row, x0 + q);
        if (row < weights.rows)
          get_force.quad(origin + int64_t(row) * g.x.size + x0, smaller(kQuad, weights.width - x0), field, f);
        for (int q = 0; q < kQuad; ++q) force[row][x0 + q] = f[q];
      }
    });
  }

  // column[k][x]: over the rows that control row k reaches.
  template <typename Team>
  MEDADV_HD void sum_rows(const Team& team, const Tiling<T>& tiling) {
    team.each([&](int t) {
      for (int i = t; i < tiling.knots_y * kTileWidth; i += Team::size) {
        const int32_t k = i / kTileWidth, x = i % kTileWidth;
        T sum = 0;
        for (int32_t row = 0; row < weights.rows; ++row) {
          const int32_t b = k - weights.knot_y[row];
          if (b >= 0 && b < 4) sum += weights.wy[row][b] * force[row][x];
        }
        column[k][x] = sum;
      }
    });
  }

  // part[y][x][p]: over every kParts-th voxel that control column x reaches.
  template <typename Team>
  MEDADV_HD void sum_width(const Team& team, const Tiling<T>& tiling) {
    const int32_t nx = tiling.knots_x, n = nx * tiling.knots_y * kParts;
    team.each([&](int t) {
      for (int i = t; i < n; i += Team::size) {
        const int32_t p = i % kParts, k = i / kParts, y = k / nx, x = k - y * nx;
        T sum = 0;
        for (int32_t v = p; v < weights.width; v += kParts) {
          const int32_t b = x - weights.knot_x[v];
          if (b >= 0 && b < 4) sum += weights.wx[v][b] * column[y][v];
        }
        part[y][x][p] = sum;
      }
    });
  }
};

struct KnotIndex {
  int32_t lattice, z, y, x;
};

// Second step: one team per control point sums the tiles, planes and channels that it reaches.
template <typename T, typename S>
struct GatherKnot {
  Tiling<T> tiling;
  Channels channels;
  const T* partial;
  S* grad_c;

  template <typename Team>
  MEDADV_HD void run(const Team& team, T (&sum)[Team::size], const KnotIndex& k) const {
    const Lattice& g = tiling.g;
    const int32_t z0 = reach_begin(g.z, k.z), depth = reach_end(g.z, k.z) - z0;
    const int32_t y0 = reach_begin(g.y, k.y) / kTileRows<T>, x0 = reach_begin(g.x, k.x) / kTileWidth;
    const int32_t rows = larger(0, (reach_end(g.y, k.y) + kTileRows<T> - 1) / kTileRows<T> - y0);
    const int32_t columns = larger(0, (reach_end(g.x, k.x) + kTileWidth - 1) / kTileWidth - x0);
    const int32_t terms = depth * rows * columns;
    team.each([&](int t) {
      T total = 0;
      for (int64_t shared = 0; shared < channels.per_knot; ++shared) {
        const int64_t channel = k.lattice * channels.per_knot + shared;
        for (int32_t i = t; i < terms; i += Team::size) {
          const int32_t row = i / columns, plane = row / rows;
          const int32_t x = x0 + i - row * columns, y = y0 + row - plane * rows, z = z0 + plane;
          total += weight_at<T>(g.z, k.z, z) * at(channel * g.z.size + z, y, x, k);
        }
      }
      sum[t] = total;
    });
    for (int half = Team::size / 2; half > 0; half /= 2)
      team.each([&](int t) {
        if (t < half) sum[t] += sum[t + half];
      });
    team.each([&](int t) {
      if (t == 0) grad_c[k.lattice * g.knots() + (int64_t(k.z) * g.y.knots + k.y) * g.x.knots + k.x] = S(sum[0]);
    });
  }

 private:
  MEDADV_HD T at(int64_t plane, int32_t y, int32_t x, const KnotIndex& k) const {
    const Lattice& g = tiling.g;
    T unused;
    const int32_t ly = k.y - g.y.locate(y * kTileRows<T>, unused), lx = k.x - g.x.locate(x * kTileWidth, unused);
    if (ly < 0 || ly >= tiling.knots_y || lx < 0 || lx >= tiling.knots_x) return T(0);
    return partial[tiling.partial_of(plane, y, x) + ly * tiling.knots_x + lx];
  }
};

}  // namespace medadv
