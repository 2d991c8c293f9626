// Cubic B-spline fields on the CPU, row by row.
//
// The work is cut into blocks: one channel, one plane, and the rows of a plane (at most kRows) that lie in
// one cell of the height axis. All rows of a block are combinations of the same four rows of control
// points, so these are turned into cell polynomials once per block; a voxel then costs three multiply-adds.
// Blocks are the unit of threading and of summation: results do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/bspline.h"

namespace medadv::cpu {

// Inner loops run over whole packs, past the end of a cell (the next cell overwrites) and of a row (rows of
// scratch are padded), so that none of them has a scalar remainder.
inline constexpr int32_t kPack = 16;
inline constexpr int32_t kRows = 32;

inline int32_t padded(int32_t n) { return (n + kPack - 1) / kPack * kPack + kPack; }

// Rows [begin, end) of the cell `cell` of the height axis.
struct Strip {
  int32_t cell, begin, end;
};

// One block: its channel, its plane, and its strip.
struct Block {
  int64_t channel;
  int32_t z;
  int32_t strip;
};

template <typename T>
struct Taps {
  int32_t cell;
  T w[4];
};

// What depends on the geometry alone, tabulated once per call and shared by all threads.
template <typename T>
struct SplineRows {
  Lattice g;
  int32_t cells;                // padded number of cells along a row: the stride of a coefficient
  std::vector<T> t;             // position of every voxel of a row in its cell, padded
  std::vector<T> wx;            // [W, 4] weights of every voxel of a row
  std::vector<int32_t> begin;   // first voxel of every cell along a row, and the end
  std::vector<Taps<T>> y, z;    // per row and per plane
  std::vector<Strip> strips;

  explicit SplineRows(const Lattice& lattice)
      : g(lattice), cells(padded(g.x.cells()) - kPack), t(padded(g.x.size)), wx(size_t(g.x.size) * 4),
        y(g.y.size), z(g.z.size) {
    for (int32_t i = 0; i < g.x.size; ++i) {
      g.x.locate(i, t[i]);
      g.x.stencil(i, &wx[size_t(i) * 4]);
    }
    for (int32_t cell = 0; cell <= g.x.cells(); ++cell) begin.push_back(g.x.begin(cell));
    for (int32_t i = 0; i < g.y.size; ++i) y[i].cell = g.y.stencil(i, y[i].w);
    for (int32_t i = 0; i < g.z.size; ++i) z[i].cell = g.z.stencil(i, z[i].w);
    for (int32_t cell = 0; cell < g.y.cells(); ++cell)
      for (int32_t row = g.y.begin(cell); row < g.y.begin(cell + 1); row += kRows)
        strips.push_back({cell, row, std::min(row + kRows, g.y.begin(cell + 1))});
  }

  int64_t blocks(int64_t channels) const { return channels * g.z.size * int64_t(strips.size()); }

  Block block(int64_t index) const {
    const int64_t n = int64_t(strips.size()), plane = index / n;
    return {plane / g.z.size, int32_t(plane % g.z.size), int32_t(index % n)};
  }

  int64_t row_offset(const Block& b, int32_t row) const {
    return ((b.channel * g.z.size + b.z) * g.y.size + row) * g.x.size;
  }
};

// The polynomials of one block: power j of cell x under control row b is at [b][j][x].
template <typename T>
struct BlockPolynomials {
  std::vector<T> line, power, coefficients;
  T low, high;  // bounds of the field in the block: a spline stays in the hull of its control points

  explicit BlockPolynomials(const SplineRows<T>& s)
      : line(s.g.x.knots), power(size_t(16) * s.cells), coefficients(size_t(4) * s.cells) {}

  // c: one channel of the lattice.
  template <typename S>
  void collapse(const SplineRows<T>& s, const Block& block, const S* c) {
    const Taps<T>& z = s.z[block.z];
    const int32_t cell = s.strips[block.strip].cell, knots = s.g.x.knots;
    for (int32_t b = 0; b < 4; ++b) {
      for (int32_t k = 0; k < knots; ++k) line[k] = 0;
      for (int32_t a = 0; a < s.g.z.taps(); ++a) {
        const S* row = c + (int64_t(z.cell + a) * s.g.y.knots + cell + b) * knots;
        for (int32_t k = 0; k < knots; ++k) line[k] += z.w[a] * T(row[k]);
      }
      if (b == 0) low = high = line[0];
      for (int32_t k = 0; k < knots; ++k) {
        low = line[k] < low ? line[k] : low;
        high = line[k] > high ? line[k] : high;
      }
      T* out = &power[size_t(b) * 4 * s.cells];
      for (int32_t x = 0; x < s.g.x.cells(); ++x) {
        T p[4];
        cubic_coefficients(line[x], line[x + 1], line[x + 2], line[x + 3], p);
        for (int32_t j = 0; j < 4; ++j) out[j * s.cells + x] = p[j];
      }
    }
  }

  // Subtracts a constant from the field; the weights of every row sum to one.
  void shift(const SplineRows<T>& s, T constant) {
    for (int32_t b = 0; b < 4; ++b)
      for (int32_t x = 0; x < s.g.x.cells(); ++x) power[size_t(b) * 4 * s.cells + x] -= constant;
  }

  // The field along one row; `field` is padded.
  void evaluate(const SplineRows<T>& s, int32_t row, T* __restrict field) {
    const T* w = s.y[row].w;
    const size_t n = size_t(4) * s.cells;
    const T *p0 = power.data(), *p1 = p0 + n, *p2 = p1 + n, *p3 = p2 + n;
    T* __restrict a = coefficients.data();
    for (size_t i = 0; i < n; ++i) a[i] = w[0] * p0[i] + w[1] * p1[i] + w[2] * p2[i] + w[3] * p3[i];
    const T* t = s.t.data();
    for (int32_t x = 0; x < s.g.x.cells(); ++x) {
      const T a0 = a[x], a1 = a[x + s.cells], a2 = a[x + 2 * s.cells], a3 = a[x + 3 * s.cells];
      for (int32_t i = s.begin[x]; i < s.begin[x + 1]; i += kPack)
        for (int32_t l = 0; l < kPack; ++l)
          field[i + l] = a0 + t[i + l] * (a1 + t[i + l] * (a2 + t[i + l] * a3));
    }
  }
};

}  // namespace medadv::cpu
