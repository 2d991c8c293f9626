// The gradient to a B-spline lattice on the CPU: weights times forces (gradients to the field), summed.
//
// Separable and in a fixed order: the rows of a strip are summed over the height weights first (all voxels
// of a row at once), a band's sums over the width weights next; every block leaves partial sums of its
// control rows, and one owner per plane of control points gathers those. No atomics, and the same bits for
// any number of threads.
#pragma once

#include <type_traits>
#include <vector>

#include "core/bias_field.h"
#include "core/spline_field.h"
#include "cpu/spline_rows.h"

namespace medadv::cpu {

template <typename T>
class SplineAdjoint {
 public:
  SplineAdjoint(const SplineRows<T>& rows, Channels channels)
      : s_(rows), channels_(channels),
        partial_(size_t(rows.planes(channels.count) * rows.knot_rows) * rows.g.x.knots) {}

  // Partial sums of one block; `columns` is a thread's scratch. rows(strip, count) returns a function (r, i) that
  // gives the force on voxel i of the strip's row r < count, where count is a std::integral_constant.
  template <typename Rows>
  void add_block(int64_t index, Scratch<T>& columns, const Rows& rows) {
    const Block block = s_.block(index);
    begin_block(block, columns);
    for (int32_t n = block.band->begin; n < block.band->end; ++n) add_strip(block, s_.strips[n], columns, rows);
    end_block(block, columns);
  }

  // The same strip by strip. What has no force needs no call.
  void begin_block(const Block& block, Scratch<T>& columns) const {
    columns.assign(size_t(block.band->knots) * s_.stride, T(0));
  }

  template <typename Rows>
  void add_strip(const Block& block, const Strip& strip, Scratch<T>& columns, const Rows& rows) const {
    T* to = &columns[size_t(strip.cell - block.band->knot) * s_.stride];
    switch (strip.end - strip.begin) {
      case 1: add_rows<1>(strip, rows, to); break;
      case 2: add_rows<2>(strip, rows, to); break;
      case 3: add_rows<3>(strip, rows, to); break;
      default: add_rows<kStripRows>(strip, rows, to);
    }
  }

  void end_block(const Block& block, const Scratch<T>& columns) {
    const Band& band = *block.band;
    const int64_t knots = s_.g.x.knots;
    T* partial = partial_of(block.channel * s_.g.z.size + block.z) + band.offset * knots;
    for (int32_t b = 0; b < band.knots; ++b) sum_row(&columns[size_t(b) * s_.stride], partial + b * knots);
  }

  int64_t planes() const { return channels_.count / channels_.per_knot * s_.g.z.knots; }

  // Gathers the planes [first, last) of control points.
  template <typename S>
  void gather(int64_t first, int64_t last, S* grad_c) const {
    const int64_t size = int64_t(s_.g.y.knots) * s_.g.x.knots;
    std::vector<T> plane(size);
    for (int64_t p = first; p < last; ++p) {
      std::fill(plane.begin(), plane.end(), T(0));
      add_gathered(p, plane.data());
      for (int64_t i = 0; i < size; ++i) grad_c[p * size + i] = S(plane[i]);
    }
  }

  // Adds one plane of control points to what is in `plane`.
  void add_gathered(int64_t index, T* plane) const {
    const Lattice& g = s_.g;
    const int64_t lattice = index / g.z.knots;
    const int32_t kz = int32_t(index % g.z.knots);
    for (int64_t channel = lattice * channels_.per_knot; channel < (lattice + 1) * channels_.per_knot; ++channel)
      for (int32_t z = reach_begin(g.z, kz); z < reach_end(g.z, kz); ++z)
        add_plane(channel * g.z.size + z, s_.z[z].w[kz - s_.z[z].cell], plane);
  }

 private:
  T* partial_of(int64_t plane) { return &partial_[size_t(plane * s_.knot_rows * s_.g.x.knots)]; }
  const T* partial_of(int64_t plane) const { return &partial_[size_t(plane * s_.knot_rows * s_.g.x.knots)]; }

  // Sums the rows of a strip over the height weights.
  template <int kCount, typename Rows>
  void add_rows(const Strip& strip, const Rows& rows, T* columns) const {
    const auto force = rows(strip, std::integral_constant<int, kCount>{});
    T w[kCount][4];
    for (int r = 0; r < kCount; ++r) std::copy_n(s_.y[strip.begin + r].w, 4, w[r]);
    T *c0 = columns, *c1 = c0 + s_.stride, *c2 = c1 + s_.stride, *c3 = c2 + s_.stride;
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < s_.g.x.size; ++i) {
      T sum0 = c0[i], sum1 = c1[i], sum2 = c2[i], sum3 = c3[i];
      MEDADV_UNROLL
      for (int r = 0; r < kCount; ++r) {
        const T f = force(r, i);
        sum0 += w[r][0] * f;
        sum1 += w[r][1] * f;
        sum2 += w[r][2] * f;
        sum3 += w[r][3] * f;
      }
      c0[i] = sum0;
      c1[i] = sum1;
      c2[i] = sum2;
      c3[i] = sum3;
    }
  }

  // Sums a row of columns over the width weights.
  void sum_row(const T* column, T* partial) const {
    typedef T Four __attribute__((vector_size(4 * sizeof(T)), aligned(alignof(T)), may_alias));
    std::fill(partial, partial + s_.g.x.knots, T(0));
    const T* w = s_.wx.data();
    for (int32_t cell = 0; cell < s_.g.x.cells(); ++cell) {
      Four even{}, odd{};
      const int32_t end = s_.begin[cell + 1];
      int32_t i = s_.begin[cell];
      for (; i + 1 < end; i += 2) {
        even += *reinterpret_cast<const Four*>(w + size_t(i) * 4) * column[i];
        odd += *reinterpret_cast<const Four*>(w + size_t(i) * 4 + 4) * column[i + 1];
      }
      if (i < end) even += *reinterpret_cast<const Four*>(w + size_t(i) * 4) * column[i];
      even += odd;
      for (int32_t k = 0; k < 4; ++k) partial[cell + k] += even[k];
    }
  }

  void add_plane(int64_t from, T weight, T* plane) const {
    const int64_t knots = s_.g.x.knots;
    const T* partial = partial_of(from);
    for (const Band& band : s_.bands) {
      T* __restrict rows = plane + band.knot * knots;
      for (int64_t i = 0; i < band.knots * knots; ++i) rows[i] += weight * partial[i];
      partial += band.knots * knots;
    }
  }

  const SplineRows<T>& s_;
  Channels channels_;
  Scratch<T> partial_;  // [plane, control row of a band, Gx]
};

}  // namespace medadv::cpu
