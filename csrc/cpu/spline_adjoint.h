// The gradient to a B-spline lattice on the CPU: weights times forces (gradients to the field), summed.
//
// Separable and in a fixed order: the rows of a strip are summed over the height weights first (all voxels
// of a row at once), a band's sums over the width weights next; every block leaves partial sums of its
// control rows, and one owner per plane of control points gathers those. No atomics, and the same bits for
// any number of threads.
#pragma once

#include <vector>

#include "core/bias_field.h"
#include "core/spline_field.h"
#include "cpu/spline_rows.h"

namespace medadv::cpu {

template <typename T>
class SplineAdjoint {
 public:
  // What one thread needs: the forces of a strip, and the sums of a band over the height weights.
  struct Scratch {
    int32_t stride;
    std::vector<T> force, columns;

    explicit Scratch(const SplineRows<T>& s) : stride(s.stride), force(size_t(kStripRows) * stride) {}
    T* row(int32_t i) { return &force[size_t(i) * stride]; }
    void clear(const Band& band) { columns.assign(size_t(band.knots) * stride, T(0)); }
  };

  SplineAdjoint(const SplineRows<T>& rows, Channels channels)
      : s_(rows), channels_(channels),
        partial_(size_t(rows.planes(channels.count) * rows.knot_rows) * rows.g.x.knots) {}

  // Adds the forces of one strip to the band's sums.
  void add_strip(const Band& band, const Strip& strip, Scratch& scratch) const {
    typedef T Pack __attribute__((vector_size(kPack * sizeof(T)), aligned(alignof(T)), may_alias));
    const int32_t stride = scratch.stride;
    T* columns = &scratch.columns[size_t(strip.cell - band.knot) * stride];
    for (int32_t x = 0; x < stride; x += kPack) {
      Pack* out[4];
      for (int32_t b = 0; b < 4; ++b) out[b] = reinterpret_cast<Pack*>(columns + b * stride + x);
      Pack sum0 = *out[0], sum1 = *out[1], sum2 = *out[2], sum3 = *out[3];
      const T* force = scratch.force.data() + x;
      for (int32_t row = strip.begin; row < strip.end; ++row, force += stride) {
        const T* w = s_.y[row].w;
        const Pack f = *reinterpret_cast<const Pack*>(force);
        sum0 += w[0] * f;
        sum1 += w[1] * f;
        sum2 += w[2] * f;
        sum3 += w[3] * f;
      }
      *out[0] = sum0;
      *out[1] = sum1;
      *out[2] = sum2;
      *out[3] = sum3;
    }
  }

  // Leaves the partial sums of a block.
  void finish(int64_t index, const Scratch& scratch) {
    const Block block = s_.block(index);
    const int64_t knots = s_.g.x.knots;
    T* partial = partial_of(block.channel * s_.g.z.size + block.z) + block.band->offset * knots;
    for (int32_t b = 0; b < block.band->knots; ++b)
      sum_row(&scratch.columns[size_t(b) * scratch.stride], partial + b * knots);
  }

  int64_t planes() const { return channels_.count / channels_.per_knot * s_.g.z.knots; }

  // Gathers the planes [first, last) of control points.
  template <typename S>
  void gather(int64_t first, int64_t last, S* grad_c) const {
    const Lattice& g = s_.g;
    const int64_t size = int64_t(g.y.knots) * g.x.knots;
    std::vector<T> plane(size);
    for (int64_t p = first; p < last; ++p) {
      gather_plane(p / g.z.knots, int32_t(p % g.z.knots), plane.data());
      for (int64_t i = 0; i < size; ++i) grad_c[p * size + i] = S(plane[i]);
    }
  }

 private:
  T* partial_of(int64_t plane) { return &partial_[size_t(plane * s_.knot_rows * s_.g.x.knots)]; }
  const T* partial_of(int64_t plane) const { return &partial_[size_t(plane * s_.knot_rows * s_.g.x.knots)]; }

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

  void gather_plane(int64_t lattice, int32_t kz, T* plane) const {
    const Lattice& g = s_.g;
    std::fill(plane, plane + int64_t(g.y.knots) * g.x.knots, T(0));
    for (int64_t channel = lattice * channels_.per_knot; channel < (lattice + 1) * channels_.per_knot; ++channel)
      for (int32_t z = reach_begin(g.z, kz); z < reach_end(g.z, kz); ++z)
        add_plane(channel * g.z.size + z, s_.z[z].w[kz - s_.z[z].cell], plane);
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
  std::vector<T> partial_;  // [plane, control row of a band, Gx]
};

}  // namespace medadv::cpu
