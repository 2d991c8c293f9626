// The gradient to a B-spline lattice on the CPU: weights times forces (gradients to the field), summed.
//
// Separable and in a fixed order: the rows of a block are summed over the height weights first (all voxels
// of a row at once), then over the row; every block leaves 4 x Gx partial sums, and one owner per plane of
// control points gathers those. No atomics, and the same bits for any number of threads.
#pragma once

#include <vector>

#include "core/bias_field.h"
#include "cpu/spline_rows.h"

namespace medadv::cpu {

template <typename T>
class SplineAdjoint {
 public:
  SplineAdjoint(const SplineRows<T>& rows, Channels channels)
      : s_(rows), channels_(channels), partial_(size_t(rows.blocks(channels.count)) * 4 * rows.g.x.knots) {}

  // Rows of forces of one block, and their sums over the height weights.
  struct Scratch {
    int32_t stride;
    std::vector<T> force, columns;

    explicit Scratch(const SplineRows<T>& s)
        : stride(padded(s.g.x.size)), force(size_t(kRows) * stride), columns(size_t(4) * stride) {}
    T* row(int32_t i) { return &force[size_t(i) * stride]; }
  };

  // Sums the forces of one block.
  void reduce(int64_t index, Scratch& scratch) {
    const Strip& strip = s_.strips[s_.block(index).strip];
    sum_rows(strip, scratch);
    sum_columns(scratch, &partial_[size_t(index) * 4 * s_.g.x.knots]);
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
  void sum_rows(const Strip& strip, Scratch& scratch) const {
    typedef T Pack __attribute__((vector_size(kPack * sizeof(T)), aligned(alignof(T)), may_alias));
    const int32_t stride = scratch.stride;
    for (int32_t x = 0; x + kPack <= stride; x += kPack) {
      Pack sum0{}, sum1{}, sum2{}, sum3{};
      const T* force = scratch.force.data() + x;
      for (int32_t row = strip.begin; row < strip.end; ++row, force += stride) {
        const T* w = s_.y[row].w;
        const Pack f = *reinterpret_cast<const Pack*>(force);
        sum0 += w[0] * f;
        sum1 += w[1] * f;
        sum2 += w[2] * f;
        sum3 += w[3] * f;
      }
      T* out = scratch.columns.data() + x;
      *reinterpret_cast<Pack*>(out) = sum0;
      *reinterpret_cast<Pack*>(out + stride) = sum1;
      *reinterpret_cast<Pack*>(out + 2 * stride) = sum2;
      *reinterpret_cast<Pack*>(out + 3 * stride) = sum3;
    }
  }

  void sum_columns(const Scratch& scratch, T* partial) const {
    typedef T Four __attribute__((vector_size(4 * sizeof(T)), aligned(alignof(T)), may_alias));
    const int32_t knots = s_.g.x.knots, stride = scratch.stride;
    const T* column = scratch.columns.data();
    std::fill(partial, partial + 4 * knots, T(0));
    for (int32_t cell = 0; cell < s_.g.x.cells(); ++cell) {
      Four sum0{}, sum1{}, sum2{}, sum3{};
      for (int32_t i = s_.begin[cell]; i < s_.begin[cell + 1]; ++i) {
        const Four w = *reinterpret_cast<const Four*>(&s_.wx[size_t(i) * 4]);
        sum0 += w * column[i];
        sum1 += w * column[i + stride];
        sum2 += w * column[i + 2 * stride];
        sum3 += w * column[i + 3 * stride];
      }
      for (int32_t k = 0; k < 4; ++k) {
        partial[cell + k] += sum0[k];
        partial[knots + cell + k] += sum1[k];
        partial[2 * knots + cell + k] += sum2[k];
        partial[3 * knots + cell + k] += sum3[k];
      }
    }
  }

  void gather_plane(int64_t lattice, int32_t kz, T* plane) const {
    const Lattice& g = s_.g;
    std::fill(plane, plane + int64_t(g.y.knots) * g.x.knots, T(0));
    for (int64_t channel = lattice * channels_.per_knot; channel < (lattice + 1) * channels_.per_knot; ++channel)
      for (int32_t z = reach_begin(g.z, kz); z < reach_end(g.z, kz); ++z)
        add_plane(channel, z, s_.z[z].w[kz - s_.z[z].cell], plane);
  }

  void add_plane(int64_t channel, int32_t z, T weight, T* plane) const {
    const int64_t strips = int64_t(s_.strips.size()), knots = s_.g.x.knots;
    const T* partial = &partial_[size_t((channel * s_.g.z.size + z) * strips * 4 * knots)];
    for (const Strip& strip : s_.strips) {
      T* rows = plane + strip.cell * knots;
      for (int64_t i = 0; i < 4 * knots; ++i) rows[i] += weight * partial[i];
      partial += 4 * knots;
    }
  }

  const SplineRows<T>& s_;
  Channels channels_;
  std::vector<T> partial_;  // [block, 4, Gx]
};

}  // namespace medadv::cpu
