// Polynomial bias fields tile by tile, as a block of GPU threads computes them.
//
// A tile is kPolynomialWidth voxels of kPolynomialRows rows of one plane. Where the coordinates stay as they are, a
// plane's coefficients are summed over depth and a row's over height in shared memory, and a voxel costs degree + 1
// steps; backwards every thread sums a column over the rows, and the columns are then summed against the powers of
// their coordinate. Where the coordinates move, every voxel evaluates the whole polynomial; backwards the powers of a
// row of voxels go to shared memory, and thread m sums term m over them; likewise the rows of a thin-plate spline. A
// tile leaves partial sums, which a second kernel gathers; a control point of a flow gathers from the voxels it
// reaches. Fixed orders, no atomics.
#pragma once

#include "core/polynomial_bias_field.h"
#include "core/quad.h"
#include "core/team.h"

namespace medadv {

inline constexpr int kPolynomialThreads = 128;
inline constexpr int kPolynomialWidth = 128;
inline constexpr int kPolynomialRows = 16;
inline constexpr int kPolynomialParts = 8;  // threads that share the sum over a row of one control point
inline constexpr int kFlowThreads = 64, kTermThreads = 32;

// Voxels of a row whose powers are in memory at a time: float64 takes half of them, to fit 48 KiB.
template <typename T>
inline constexpr int kMovedThreads = sizeof(T) == 8 ? 64 : 128;

// Tiles that cover an image, `width` voxels wide.
struct PolynomialTiling {
  int32_t x, y;

  MEDADV_HD PolynomialTiling(const Volume& size, int32_t width)
      : x((size.x + width - 1) / width), y((size.y + kPolynomialRows - 1) / kPolynomialRows) {}
  MEDADV_HD int64_t per_plane() const { return int64_t(x) * y; }
};

struct PolynomialTile {
  int32_t example, set, z;
  int32_t y, x;  // of the tile among those of the plane
};

// Coefficients of the monic terms of one set; a: of the basis' own.
template <typename T, typename S, typename Team>
MEDADV_HD void stage_coefficients(const Team& team, const PolynomialBias<T>& bias, const S* a, T* to) {
  team.each([&](int t) {
    for (int32_t m = t; m < bias.shape.terms(); m += Team::size)
      to[m] = T(a[m]) * bias.recurrence.term_scale(bias.shape.powers(m));
  });
}

// --- forward ------------------------------------------------------------------------------------------------------

// Calls voxel.quad(at, n, field) for every four neighbours and every channel of the set.
template <typename T>
struct PolynomialForward {
  T a[kMaxTerms];
  T lines[kPolynomialRows][kMaxPowers];

  template <typename Team, typename S, typename Voxel>
  MEDADV_HD void run_still(const Team& team, const PolynomialBias<T>& bias, const S* coefficients,
                           const PolynomialTile& tile, const Voxel& voxel) {
    const PolynomialShape &shape = bias.shape, plane{shape.degree, 2};
    const Recurrence<T>& r = bias.recurrence;
    const int32_t powers = shape.degree + 1, y0 = tile.y * kPolynomialRows;
    const T w = coordinate<T>(tile.z, bias.size().z);
    team.each([&](int t) {
      for (int32_t m = t; m < plane.terms(); m += Team::size) {
        Powers p = plane.powers(m);
        Clenshaw<T> sum;
        for (p.s = shape.axes == 3 ? shape.degree - p.t - p.l : 0; p.s >= 0; --p.s)
          sum.step(T(coefficients[shape.offset(p.s, p.t) + p.l]) * r.term_scale(p), w, r.c[p.s + 1]);
        a[m] = sum.value;
      }
    });
    team.each([&](int t) {
      for (int32_t i = t; i < kPolynomialRows * powers; i += Team::size) {
        const int32_t row = i / powers, l = i - row * powers;
        const T v = coordinate<T>(y0 + row, bias.size().y);
        Clenshaw<T> sum;
        for (int32_t k = shape.degree - l; k >= 0; --k) sum.step(a[plane.offset(0, k) + l], v, r.c[k + 1]);
        lines[row][l] = sum.value;
      }
    });
    team.each([&](int t) {
      for_each_quad<Team::size>(bias, tile, t, [&](int32_t row, int32_t x, int32_t n) {
        Clenshaw<T> sum[4];
        T u[4], field[4];
        for (int i = 0; i < 4; ++i) u[i] = coordinate<T>(x + i, bias.size().x);
        for (int32_t l = shape.degree; l >= 0; --l) {
          const T coefficient = lines[row - y0][l], c = r.c[l + 1];
          for (int i = 0; i < 4; ++i) sum[i].step(coefficient, u[i], c);
        }
        for (int i = 0; i < 4; ++i) field[i] = sum[i].value;
        write(bias, tile, row, x, n, field, voxel);
      });
    });
  }

  template <typename Team, typename S, typename Voxel>
  MEDADV_HD void run_moved(const Team& team, const PolynomialBias<T>& bias, const S* coefficients,
                           const PolynomialTile& tile, const Voxel& voxel) {
    stage_coefficients(team, bias, coefficients, a);
    team.each([&](int t) {
      for_each_quad<Team::size>(bias, tile, t, [&](int32_t row, int32_t x, int32_t n) {
        T at[4][3], field[4];
        int32_t inside[4];
        for (int i = 0; i < 4; ++i) inside[i] = x + i < bias.size().x ? x + i : bias.size().x - 1;
        bias.motion.start(tile.z, row, inside, at);
        bias.motion.move(tile.example, tile.z, row, inside, at);
        polynomial_values(bias.shape, bias.recurrence, a, at, field);
        write(bias, tile, row, x, n, field, voxel);
      });
    });
  }

 private:
  // The quads of thread t: every kStride-th row of one column of quads.
  template <int kThreads, typename F>
  MEDADV_HD static void for_each_quad(const PolynomialBias<T>& bias, const PolynomialTile& tile, int t, F f) {
    constexpr int kQuads = kPolynomialWidth / 4, kStride = kThreads / kQuads;
    const int32_t x = tile.x * kPolynomialWidth + t % kQuads * 4, left = bias.size().x - x;
    if (left <= 0) return;
    for (int32_t row = t / kQuads; row < kPolynomialRows; row += kStride)
      if (tile.y * kPolynomialRows + row < bias.size().y) f(tile.y * kPolynomialRows + row, x, left < 4 ? left : 4);
  }

  template <typename Voxel>
  MEDADV_HD static void write(const PolynomialBias<T>& bias, const PolynomialTile& tile, int32_t row, int32_t x,
                              int32_t n, const T (&field)[4], const Voxel& voxel) {
    const int64_t voxels = bias.size().voxels(), first = bias.first_channel(tile.example, tile.set);
    for (int64_t channel = first; channel < first + bias.per_set(); ++channel)
      voxel.quad(channel * voxels + bias.size().offset(tile.z, row, x), n, field);
  }
};

// The force on the field at one voxel: that of all channels of a set.
template <typename T, typename Force>
MEDADV_HD T force_at(const PolynomialBias<T>& bias, const Force& force, int32_t example, int32_t set, int32_t z,
                     int32_t y, int32_t x) {
  const int64_t voxels = bias.size().voxels(), first = bias.first_channel(example, set);
  T sum = 0;
  for (int64_t channel = first; channel < first + bias.per_set(); ++channel)
    sum += force(channel * voxels + bias.size().offset(z, y, x));
  return sum;
}

// --- backward, coordinates that stay ------------------------------------------------------------------------------

template <typename T>
struct PolynomialStillBackward {
  T columns[kMaxPowers][kPolynomialWidth + 1];  // one more: neighbouring rows lie in different banks
  T powers[kMaxPowers][kPolynomialWidth + 1];
  T y[kPolynomialRows][kMaxPowers];

  // partial: [terms of a plane], of the monic terms.
  template <typename Team, typename Force>
  MEDADV_HD void run(const Team& team, const PolynomialBias<T>& bias, const PolynomialTile& tile, const Force& force,
                     T* partial) {
    static_assert(Team::size == kPolynomialWidth);
    const PolynomialShape plane{bias.shape.degree, 2};
    const int32_t count = plane.degree + 1, y0 = tile.y * kPolynomialRows, x0 = tile.x * kPolynomialWidth;
    team.each([&](int t) {
      for (int32_t i = t; i < kPolynomialRows * kMaxPowers; i += Team::size) {
        const int32_t row = i / kMaxPowers, k = i - row * kMaxPowers;
        y[row][k] = k < count ? monic_power(bias.recurrence, coordinate<T>(y0 + row, bias.size().y), k) : T(0);
      }
      MonicPowers<T> u(bias.recurrence, coordinate<T>(x0 + t, bias.size().x));
      for (; u.n < count; u.next()) powers[u.n][t] = u.value;
    });
    team.each([&](int t) {
      T sum[kMaxPowers] = {};
      for (int32_t row = 0; row < kPolynomialRows; ++row) {
        if (y0 + row >= bias.size().y || x0 + t >= bias.size().x) continue;
        const T f = force_at(bias, force, tile.example, tile.set, tile.z, y0 + row, x0 + t);
        MEDADV_UNROLL_BY(13)
        for (int32_t k = 0; k < kMaxPowers; ++k) sum[k] += f * y[row][k];
      }
      MEDADV_UNROLL_BY(13)
      for (int32_t k = 0; k < kMaxPowers; ++k) columns[k][t] = sum[k];
    });
    team.each([&](int t) {
      for (int32_t m = t; m < plane.terms(); m += Team::size) {
        const Powers p = plane.powers(m);
        T sum = 0;
        for (int32_t i = 0; i < kPolynomialWidth; ++i)
          if (x0 + i < bias.size().x) sum += columns[p.t][i] * powers[p.l][i];
        partial[m] = sum;
      }
    });
  }
};

// --- backward, coordinates that move ------------------------------------------------------------------------------

// Sums of one tile and example: [sets, terms] of the monic terms, then [axes, rows of the motion] where those are
// wanted of a thin-plate spline.
template <typename T>
MEDADV_HD int64_t moved_sums(const PolynomialBias<T>& bias, bool to_weights) {
  const bool spline = to_weights && bias.motion.warp == CoordinateWarp::thin_plate;
  return bias.sets * bias.shape.terms() + (spline ? int64_t(bias.motion.grid.axes) * bias.motion.rows() : 0);
}

template <typename T>
struct PolynomialMovedBackward {
  static constexpr int kWidth = kMovedThreads<T>;

  T a[kMaxTerms];
  int32_t terms[kMaxTerms];                // s, t and l, a byte each
  T powers[3][kMaxPowers][kWidth + 1];     // those of the depth times the force
  T forces[3][kWidth + 1];                 // on the coordinates

  // tile.set is not used: all sets move together.
  template <typename Team, typename S, typename Force>
  MEDADV_HD void run(const Team& team, const PolynomialBias<T>& bias, const S* coefficients, const PolynomialTile& tile,
                     const Force& force, bool to_weights, T* partial) {
    static_assert(Team::size == kWidth);
    const int32_t count = bias.shape.terms(), y0 = tile.y * kPolynomialRows, x0 = tile.x * kWidth;
    const bool spline = to_weights && bias.motion.warp == CoordinateWarp::thin_plate;
    team.each([&](int t) {
      for (int32_t m = t; m < count; m += Team::size) {
        const Powers p = bias.shape.powers(m);
        terms[m] = p.s | p.t << 8 | p.l << 16;
      }
    });
    for (int32_t y = y0; y < y0 + kPolynomialRows && y < bias.size().y; ++y) {
      team.each([&](int t) { forces[0][t] = forces[1][t] = forces[2][t] = T(0); });
      for (int32_t set = 0; set < int32_t(bias.sets); ++set) {
        if (bias.sets > 1 || y == y0) stage_coefficients(team, bias, coefficients + int64_t(set) * count, a);
        team.each([&](int t) {
          const int32_t x = x0 + t;
          tabulate(bias, tile.example, tile.z, y, x < bias.size().x ? x : bias.size().x - 1,
                   x < bias.size().x ? force_at(bias, force, tile.example, set, tile.z, y, x) : T(0), spline, t);
        });
        team.each([&](int t) {
          for (int32_t m = t; m < count; m += Team::size) {
            const T *w = powers[0][terms[m] & 255], *v = powers[1][terms[m] >> 8 & 255], *u = powers[2][terms[m] >> 16];
            T sum = y == y0 ? T(0) : partial[int64_t(set) * count + m];
            for (int32_t i = 0; i < kWidth; ++i) sum += w[i] * v[i] * u[i];
            partial[int64_t(set) * count + m] = sum;
          }
        });
      }
      if (spline) add_spline(team, bias, tile, y, partial + bias.sets * count);
    }
  }

 private:
  MEDADV_HD void tabulate(const PolynomialBias<T>& bias, int32_t example, int32_t z, int32_t y, int32_t x, T f,
                          bool spline, int t) {
    T moved[1][3];
    const int32_t voxels_x[1] = {x};
    bias.motion.start(z, y, voxels_x, moved);
    bias.motion.move(example, z, y, voxels_x, moved);
    const T(&at)[3] = moved[0];
    MonicPowers<T> w(bias.recurrence, at[0]), v(bias.recurrence, at[1]), u(bias.recurrence, at[2]);
    for (; w.n <= bias.shape.max_s(); w.next()) powers[0][w.n][t] = f * w.value;
    for (; v.n <= bias.shape.degree; v.next()) powers[1][v.n][t] = v.value;
    for (; u.n <= bias.shape.degree; u.next()) powers[2][u.n][t] = u.value;
    if (!spline) return;
    T slopes[3];
    polynomial_slopes(bias.shape, bias.recurrence, a, at, slopes);
    for (int d = 0; d < 3; ++d) forces[d][t] += f * slopes[d];
  }

  // Forces of a row of voxels times the rows of the spline: Team::size / kPolynomialParts of them at a time.
  template <typename Team>
  MEDADV_HD void add_spline(const Team& team, const PolynomialBias<T>& bias, const PolynomialTile& tile, int32_t y,
                            T* partial) {
    constexpr int kBatch = Team::size / kPolynomialParts;
    const Motion<T>& motion = bias.motion;
    const int32_t rows = motion.rows(), axes = motion.grid.axes, skipped = 3 - axes, x0 = tile.x * kWidth;
    T(&parts)[kMaxPowers][kWidth + 1] = powers[0];  // the powers have been used
    for (int32_t first = 0; first < rows; first += kBatch) {
      team.each([&](int t) {
        const int32_t row = first + t / kPolynomialParts;
        T sum[3] = {0, 0, 0};
        if (row < rows)
          for (int32_t i = t % kPolynomialParts; i < kWidth; i += kPolynomialParts) {
            T at[1][3];
            const int32_t inside[1] = {x0 + i < bias.size().x ? x0 + i : bias.size().x - 1};
            motion.start(tile.z, y, inside, at);
            const T value = thin_plate_row(motion.grid, row, at[0]);
            for (int d = 0; d < 3; ++d) sum[d] += forces[d][i] * value;
          }
        for (int d = 0; d < 3; ++d) parts[d][t] = sum[d];
      });
      team.each([&](int t) {
        const int32_t d = t / kBatch, row = first + t % kBatch;
        if (d >= axes || row >= rows) return;
        T sum = y == tile.y * kPolynomialRows ? T(0) : partial[int64_t(d) * rows + row];
        for (int32_t k = 0; k < kPolynomialParts; ++k) sum += parts[d + skipped][t % kBatch * kPolynomialParts + k];
        partial[int64_t(d) * rows + row] = sum;
      });
    }
  }
};

// The gradient to one control point of a flow, from the voxels that it reaches.
template <typename T>
struct FlowGather {
  T a[kMaxTerms];
  T sum[3][kFlowThreads];

  template <typename Team, typename S, typename Force>
  MEDADV_HD void run(const Team& team, const PolynomialBias<T>& bias, const S* coefficients, int32_t example,
                     int32_t point, const Force& force, T* grad_weights) {
    static_assert(Team::size == kFlowThreads);
    const Motion<T>& motion = bias.motion;
    const ControlGrid& grid = motion.grid;
    const int32_t line = int32_t(uint32_t(point) / uint32_t(grid.x)), kx = point - line * grid.x;
    const int32_t kz = int32_t(uint32_t(line) / uint32_t(grid.y)), ky = line - kz * grid.y;
    const int32_t z0 = motion.z().reach_begin(kz), y0 = motion.y().reach_begin(ky), x0 = motion.x().reach_begin(kx);
    const uint32_t rows = uint32_t(motion.y().reach_end(ky) - y0), columns = uint32_t(motion.x().reach_end(kx) - x0);
    const uint32_t voxels = uint32_t(motion.z().reach_end(kz) - z0) * rows * columns;
    team.each([&](int t) { sum[0][t] = sum[1][t] = sum[2][t] = T(0); });
    for (int32_t set = 0; set < int32_t(bias.sets); ++set) {
      stage_coefficients(team, bias, coefficients + int64_t(set) * bias.shape.terms(), a);
      team.each([&](int t) {
        for (uint32_t i = uint32_t(t); i < voxels; i += Team::size) {
          const uint32_t row = i / columns, plane = row / rows;
          const int32_t z = z0 + int32_t(plane), y = y0 + int32_t(row - plane * rows);
          const int32_t x = x0 + int32_t(i - row * columns);
          const T weight = motion.z().template weight<T>(kz, z) * motion.y().template weight<T>(ky, y) *
                           motion.x().template weight<T>(kx, x);
          const T f = weight * force_at(bias, force, example, set, z, y, x);
          T at[1][3], slopes[3];
          const int32_t voxels_x[1] = {x};
          motion.start(z, y, voxels_x, at);
          motion.move(example, z, y, voxels_x, at);
          polynomial_slopes(bias.shape, bias.recurrence, a, at[0], slopes);
          for (int d = 0; d < 3; ++d) sum[d][t] += f * slopes[d];
        }
      });
    }
    for (int half = Team::size / 2; half > 0; half /= 2)
      team.each([&](int t) {
        if (t >= half) return;
        for (int d = 0; d < 3; ++d) sum[d][t] += sum[d][t + half];
      });
    team.each([&](int t) {
      if (t >= grid.axes) return;
      grad_weights[(int64_t(example) * grid.axes + t) * grid.points() + point] = sum[t + 3 - grid.axes][0];
    });
  }
};

// --- partial sums of the tiles --------------------------------------------------------------------------------------

// The gradients of one example: to coefficient i of [sets, terms], or to weight i - sets * terms of a thin-plate
// spline.
template <typename T, typename S>
struct GatherTerm {
  PolynomialBias<T> bias;
  PolynomialTiling tiling;
  const T* partial;
  int64_t sums;  // of a tile: of a set and plane of still coordinates, else of an example
  S* grad_coefficients;
  T* grad_weights;

  template <typename Team>
  MEDADV_HD void run(const Team& team, double (&sum)[Team::size], int32_t example, int32_t i) const {
    const PolynomialShape &shape = bias.shape, plane{shape.degree, 2};
    const bool still = bias.motion.warp == CoordinateWarp::none, coefficient = i < int32_t(bias.sets) * shape.terms();
    const int32_t set = coefficient ? i / shape.terms() : 0;
    const Powers p = shape.powers(coefficient ? i - set * shape.terms() : 0);
    const int64_t tiles = tiling.per_plane();
    const int64_t column = still ? plane.offset(0, p.t) + p.l : i;
    const int64_t planes_before = (still ? example * bias.sets + set : int64_t(example)) * bias.size().z;
    team.each([&](int t) {
      double total = 0;
      for (int32_t z = 0; z < bias.size().z; ++z) {
        const T weight = still ? monic_power(bias.recurrence, coordinate<T>(z, bias.size().z), p.s) : T(1);
        const T* from = partial + (planes_before + z) * tiles * sums + column;
        for (int64_t tile = t; tile < tiles; tile += Team::size) total += double(weight) * double(from[tile * sums]);
      }
      sum[t] = total;
    });
    for (int half = Team::size / 2; half > 0; half /= 2)
      team.each([&](int t) {
        if (t < half) sum[t] += sum[t + half];
      });
    team.each([&](int t) {
      if (t != 0) return;
      const int64_t count = bias.sets * shape.terms();
      if (coefficient) grad_coefficients[example * count + i] = S(T(sum[0] * double(bias.recurrence.term_scale(p))));
      else grad_weights[int64_t(example) * (sums - count) + (i - count)] = T(sum[0]);
    });
  }
};

}  // namespace medadv
