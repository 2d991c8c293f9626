// Cubic B-spline fields on the CPU, row by row.
//
// The work is cut into blocks: a band of consecutive rows in one plane of one channel. The control points
// of a block are first summed over depth and spread along the width, once for all rows of the band; a row
// of the field is then a combination of four of these, in one long loop. Blocks are the unit of threading
// and of summation, and depend on the geometry alone: so do the bits of every result.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/bspline.h"
#include "cpu/scratch.h"

namespace medadv::cpu {

inline constexpr int64_t kBandVoxels = 1 << 14;

// Voxels that a vector loop takes at a time, at most. Scratch is as long as whole packs need: loops over short
// cells run past their end (the next cell overwrites), so that they have no scalar remainder.
inline constexpr int32_t kPack = 16;
inline int32_t padded(int32_t n) { return (n + kPack - 1) / kPack * kPack + kPack; }

// Rows that are summed in one loop: as many as leave their weights in registers.
inline constexpr int32_t kStripRows = 4;

// Rows [begin, end), all in the cell `cell` of the height axis; at most kStripRows.
struct Strip {
  int32_t cell, begin, end;
};

// Strips [begin, end), which the control rows [knot, knot + knots) reach.
struct Band {
  int32_t begin, end;
  int32_t knot, knots;
  int64_t offset;  // of its partial sums within those of a plane, in control rows
};

struct Block {
  int64_t channel;
  int32_t z;
  const Band* band;
};

template <typename T>
struct Taps {
  int32_t cell;
  T w[4];
};

// What depends on the geometry alone, tabulated once per call and shared by all threads.
template <typename T>
class SplineRows {
 public:
  const Lattice g;
  const int32_t stride;         // of a row of scratch
  Scratch<T> t;                 // position of every voxel of a row in its cell, padded
  std::vector<T> wx;            // [W, 4] weights of every voxel of a row
  std::vector<int32_t> begin;   // first voxel of every cell along a row, and the end
  std::vector<Taps<T>> y, z;    // per row and per plane
  std::vector<Strip> strips;
  std::vector<Band> bands;
  int64_t knot_rows = 0;        // control rows of all bands of a plane

  explicit SplineRows(const Lattice& lattice)
      : g(lattice), stride(padded(g.x.size)), t(stride), wx(size_t(g.x.size) * 4), y(g.y.size), z(g.z.size) {
    for (int32_t i = 0; i < g.x.size; ++i) {
      g.x.locate(i, t[i]);
      g.x.stencil(i, &wx[size_t(i) * 4]);
    }
    for (int32_t cell = 0; cell <= g.x.cells(); ++cell) begin.push_back(g.x.begin(cell));
    for (int32_t i = 0; i < g.y.size; ++i) y[i].cell = g.y.stencil(i, y[i].w);
    for (int32_t i = 0; i < g.z.size; ++i) z[i].cell = g.z.stencil(i, z[i].w);
    cut();
  }

  int64_t planes(int64_t channels) const { return channels * g.z.size; }
  int64_t blocks(int64_t channels) const { return planes(channels) * int64_t(bands.size()); }

  Block block(int64_t index) const {
    const int64_t n = int64_t(bands.size()), plane = index / n;
    return {plane / g.z.size, int32_t(plane % g.z.size), &bands[index % n]};
  }

  int32_t first_row(const Block& b) const { return strips[b.band->begin].begin; }
  int32_t end_row(const Block& b) const { return strips[b.band->end - 1].end; }

  int64_t row_offset(const Block& b, int32_t row) const {
    return ((b.channel * g.z.size + b.z) * g.y.size + row) * g.x.size;
  }

 private:
  // Bands begin at multiples of so many rows: those of all lattices over an image are the same.
  void cut() {
    const int64_t rows = std::max<int64_t>(kStripRows, kBandVoxels / std::max(1, g.x.size));
    for (int32_t cell = 0; cell < g.y.cells(); ++cell)
      for (int32_t row = g.y.begin(cell); row < g.y.begin(cell + 1); row = strips.back().end) {
        const int64_t end = std::min<int64_t>(row + kStripRows, (row / rows + 1) * rows);
        strips.push_back({cell, row, std::min(int32_t(end), g.y.begin(cell + 1))});
      }
    for (int32_t first = 0, last; first < int32_t(strips.size()); first = last) {
      last = first + 1;
      while (last < int32_t(strips.size()) && strips[last].begin % rows != 0) ++last;
      const int32_t knot = strips[first].cell, knots = strips[last - 1].cell + 4 - knot;
      bands.push_back({first, last, knot, knots, knot_rows});
      knot_rows += knots;
    }
  }
};

// The control rows of a block, summed over depth and spread along the width.
template <typename T>
struct ControlRows {
  int32_t stride;
  Scratch<T> line, rows;  // [Gx], [knots, stride]
  T low = 0, high = 0;        // bounds of the field (not of a derivative): a spline stays in its control points' hull

  explicit ControlRows(const SplineRows<T>& s) : stride(s.stride), line(s.g.x.knots) {}

  const T* row(const Strip& strip, const Band& band, int32_t b) const {
    return &rows[size_t(strip.cell - band.knot + b) * stride];
  }

  // c: one channel of the lattice.
  template <typename S>
  void spread(const SplineRows<T>& s, const Block& block, const S* c) {
    const Band& band = *block.band;
    rows.resize(std::max(rows.size(), size_t(band.knots) * stride));
    for (int32_t b = 0; b < band.knots; ++b) {
      sum_depth(s, s.z[block.z], c + int64_t(band.knot + b) * s.g.x.knots);
      if (b == 0) low = high = line[0];
      for (const T value : line) {
        low = value < low ? value : low;
        high = value > high ? value : high;
      }
      spread_line(s, &rows[size_t(b) * stride]);
    }
  }

  // Calls f with the control points of a block, summed over depth.
  template <typename S, typename F>
  void for_each_control(const SplineRows<T>& s, const Block& block, const S* c, const F& f) {
    for (int32_t b = 0; b < block.band->knots; ++b) {
      sum_depth(s, s.z[block.z], c + int64_t(block.band->knot + b) * s.g.x.knots);
      for (const T value : line) f(value);
    }
  }

 private:
  template <typename S>
  void sum_depth(const SplineRows<T>& s, const Taps<T>& z, const S* c) {
    const int32_t knots = s.g.x.knots;
    const int64_t plane = int64_t(s.g.y.knots) * knots;
    T* __restrict sum = line.data();
    for (int32_t k = 0; k < knots; ++k) sum[k] = z.w[0] * T(c[z.cell * plane + k]);
    for (int32_t a = 1; a < s.g.z.taps(); ++a)
      for (int32_t k = 0; k < knots; ++k) sum[k] += z.w[a] * T(c[(z.cell + a) * plane + k]);
  }

  void spread_line(const SplineRows<T>& s, T* __restrict out) const {
    const T* t = s.t.data();
    for (int32_t x = 0; x < s.g.x.cells(); ++x) {
      T p[4];
      cubic_coefficients(line[x], line[x + 1], line[x + 2], line[x + 3], p);
      if (s.g.x.derivative > 0) {
        differentiate_cubic(s.g.x.derivative, p);
        for (T& power : p) power *= T(s.g.x.scale);
      }
      for (int32_t i = s.begin[x]; i < s.begin[x + 1]; i += kPack)
        for (int32_t l = 0; l < kPack; ++l)
          out[i + l] = p[0] + t[i + l] * (p[1] + t[i + l] * (p[2] + t[i + l] * p[3]));
    }
  }
};

// One row of the field: w0 e0 + w1 e1 + w2 e2 + w3 e3 - offset.
template <typename T>
struct FieldRow {
  const T *e0, *e1, *e2, *e3;
  T w0, w1, w2, w3, offset;

  FieldRow(const SplineRows<T>& s, const ControlRows<T>& control, const Block& block, const Strip& strip,
           int32_t row, T minus = 0)
      : e0(control.row(strip, *block.band, 0)), e1(e0 + control.stride), e2(e1 + control.stride),
        e3(e2 + control.stride), w0(s.y[row].w[0]), w1(s.y[row].w[1]), w2(s.y[row].w[2]), w3(s.y[row].w[3]),
        offset(minus) {}

  T operator()(int32_t i) const { return w3 * e3[i] + (w2 * e2[i] + (w1 * e1[i] + (w0 * e0[i] - offset))); }
};

}  // namespace medadv::cpu
