#include "cpu/jacobian.h"

#include <algorithm>

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// The rows that the deformation of a row of cells depends on.
template <typename T, typename S, int kAxes>
struct JacobianRow {
  const S* from[kAxes];           // per component
  const S* to[kAxes][kAxes - 1];  // its neighbours along depth and height
  T inverse[kAxes];

  JacobianRow(const JacobianStencil<T, S, kAxes>& stencil, int64_t example, int32_t z, int32_t y) {
    for (int a = 0; a < kAxes; ++a) inverse[a] = stencil.inverse_length(a);
    for (int c = 0; c < kAxes; ++c) {
      from[c] = stencil.u + (example * kAxes + c) * stencil.size.voxels() + stencil.size.offset(z, y, 0);
      for (int a = 0; a < kAxes - 1; ++a) to[c][a] = from[c] + stencil.stride(a);
    }
  }

  Deformation<T, kAxes> operator()(int32_t i) const {
    Deformation<T, kAxes> d;
    MEDADV_UNROLL
    for (int c = 0; c < kAxes; ++c) {
      const T v = T(from[c][i]);
      MEDADV_UNROLL
      for (int a = 0; a < kAxes - 1; ++a) d.g[c][a] = (T(to[c][a][i]) - v) * inverse[a] + T(c == a);
      d.g[c][kAxes - 1] = (T(from[c][i + 1]) - v) * inverse[kAxes - 1] + T(c == kAxes - 1);
    }
    return d;
  }
};

// Of every component, what comes after the farthest row that a row of cells depends on.
template <typename T, typename S, int kAxes>
void fetch_components(const JacobianStencil<T, S, kAxes>& stencil, int64_t example, int32_t z, int32_t y) {
  const S* farthest = stencil.u + stencil.size.offset(std::min(z + 1, stencil.size.z - 1), y, 0);
  for (int64_t c = 0; c < kAxes; ++c)
    fetch_ahead(farthest + (example * kAxes + c) * stencil.size.voxels(), stencil.size.x);
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void determinant_row(const JacobianStencil<T, S, kAxes>& stencil, int64_t example, int32_t z, int32_t y,
                                 S* __restrict out) {
  const JacobianRow<T, S, kAxes> row(stencil, example, z, y);
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < stencil.size.x - 1; ++i) out[i] = S(row(i).determinant());
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void add_folding(const JacobianStencil<T, S, kAxes>& stencil, const Bands& bands, int64_t block,
                             T threshold, T* __restrict sum) {
  bands.for_each_row(block, [&](int64_t example, int32_t z, int32_t y) {
    fetch_components(stencil, example, z, y);
    const JacobianRow<T, S, kAxes> row(stencil, example, z, y);
    const int32_t last = stencil.size.x - 1;
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i <= last; ++i) {
      const T s = shortfall(threshold, row(i).determinant());
      sum[i] += i < last ? s * s : T(0);
    }
  });
}

// A thread's rows. Those of one component lie `stride` apart; rows of forces have a zero before them, for the cell that
// is not there.
template <typename T, int kAxes>
struct GradientScratch {
  int32_t stride, rows;  // rows: of a band
  Scratch<T> given;      // [W] derivatives by the determinants of a row
  Scratch<T> done;       // [component, W] the gradient of a row but for the forces along the width from the left
  Scratch<T> width;      // [component, W] those forces
  Scratch<T> above;      // [component, W] forces along the height of the row above
  Scratch<T> before;     // [row, component, W] forces along the depth of the plane before

  GradientScratch(int32_t w, int32_t band_rows)
      : stride(padded(w) + kPack), rows(band_rows), given(stride), done(size_t(kAxes) * stride), width(done),
        above(done), before(kAxes == 3 ? size_t(rows + 1) * kAxes * stride : 0) {}

  // Of row `r` of the band; -1 is the row above it.
  T* before_row(int32_t r) { return kAxes == 3 ? &before[size_t(r + 1) * kAxes * stride] : nullptr; }
};

// The force of an objective on a cell, with what does not change along a row taken out. It may be asked for one more
// than there are.
template <typename T, typename S, int kAxes>
auto along_row(const GivenForce<S>& force, int64_t, int64_t cell, int32_t cells, GradientScratch<T, kAxes>& scratch) {
  T* given = scratch.given.data();
  for (int32_t i = 0; i < cells; ++i) given[i] = T(force.grad[cell + i]);
  return [=](int32_t i, T) { return given[i]; };
}
template <typename T, typename S, int kAxes>
auto along_row(const FoldingForce& force, int64_t example, int64_t, int32_t, GradientScratch<T, kAxes>&) {
  const T scale = T(-2 * force.weight * force.scale[example]), threshold = T(force.threshold);
  return [=](int32_t, T determinant) { return scale * shortfall(threshold, determinant); };
}

// The forces of a row of cells, added up with those kept from the row above and the plane before, which they replace.
template <typename T, typename S, int kAxes, typename Force>
void add_cells(const JacobianStencil<T, S, kAxes>& stencil, const Force& force, int64_t example, int32_t z, int32_t y,
               GradientScratch<T, kAxes>& scratch, T* before) {
  const JacobianRow<T, S, kAxes> row(stencil, example, z, y);
  const Volume cells = stencil.cells();
  const auto pull = along_row<T, S>(force, example, example * cells.voxels() + cells.offset(z, y, 0), cells.x, scratch);
  T *done = scratch.done.data(), *width = scratch.width.data() + kPack, *above = scratch.above.data();
  const int64_t stride = scratch.stride;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i <= cells.x; ++i) {
    const Deformation<T, kAxes> d = row(i);
    const T pulled = pull(i, d.determinant()), f = i < cells.x ? pulled : T(0);
    MEDADV_UNROLL
    for (int c = 0; c < kAxes; ++c) {
      const T along_width = f * row.inverse[kAxes - 1] * d.cofactor(c, kAxes - 1);
      const T along_height = f * row.inverse[kAxes - 2] * d.cofactor(c, kAxes - 2);
      T g = (above[c * stride + i] - along_height) - along_width;
      if constexpr (kAxes == 3) {
        const T along_depth = f * row.inverse[0] * d.cofactor(c, 0);
        g += before[c * stride + i] - along_depth;
        before[c * stride + i] = along_depth;
      }
      above[c * stride + i] = along_height;
      width[c * stride + i] = along_width;
      done[c * stride + i] = g;
    }
  }
}

// The same for a row, or a plane, in which no cells start.
template <typename T, int kAxes>
void close_cells(int32_t n, GradientScratch<T, kAxes>& scratch, const T* before) {
  std::fill(scratch.width.begin(), scratch.width.end(), T(0));
  for (int64_t c = 0; c < kAxes; ++c) {
    const int64_t at = c * scratch.stride;
    for (int32_t i = 0; i < n; ++i)
      scratch.done[at + i] = scratch.above[at + i] + (kAxes == 3 ? before[at + i] : T(0));
  }
}

// The gradient along the rows [begin, end) of all planes of an example.
template <typename T, typename S, int kAxes, typename Force>
MEDADV_SIMD void write_band(const JacobianStencil<T, S, kAxes>& stencil, const Force& force, int64_t example,
                            int32_t begin, int32_t end, GradientScratch<T, kAxes>& scratch, S* out) {
  const Volume &size = stencil.size, cells = stencil.cells();
  std::fill(scratch.before.begin(), scratch.before.end(), T(0));
  for (int32_t z = 0; z < size.z; ++z) {
    std::fill(scratch.above.begin(), scratch.above.end(), T(0));
    for (int32_t y = std::max(0, begin - 1); y < end; ++y) {
      T* before = scratch.before_row(y - begin);
      fetch_components(stencil, example, z, y);
      if (z < cells.z && y < cells.y && cells.x > 0)
        add_cells(stencil, force, example, z, y, scratch, before);
      else
        close_cells(size.x, scratch, before);
      if (y < begin) continue;  // the row above the band: only what it leaves for the next one is wanted
      for (int64_t c = 0; c < kAxes; ++c) {
        const T *done = &scratch.done[c * scratch.stride], *left = &scratch.width[c * scratch.stride] + kPack - 1;
        S* to = out + (example * kAxes + c) * size.voxels() + size.offset(z, y, 0);
        fetch_ahead_to_write(to, size.x);
        MEDADV_INDEPENDENT
        for (int32_t i = 0; i < size.x; ++i) to[i] = S(done[i] + left[i]);
      }
    }
  }
}

}  // namespace

template <typename T, typename S, int kAxes>
void JacobianDeterminant<T, S, kAxes>::run(int64_t first, int64_t last) const {
  const Volume& cells = bands_.size;
  for (int64_t block = first; block < last; ++block)
    bands_.for_each_row(block, [&](int64_t example, int32_t z, int32_t y) {
      fetch_components(stencil_, example, z, y);
      determinant_row(stencil_, example, z, y, out_ + example * cells.voxels() + cells.offset(z, y, 0));
    });
}

template <typename T, typename S, int kAxes>
void FoldingPenalty<T, S, kAxes>::run(int64_t first, int64_t last) {
  sums_.run(first, last, [&](int64_t block, T* sum) { add_folding(stencil_, bands_, block, threshold_, sum); });
}

template <typename T, typename S, int kAxes>
void FoldingPenalty<T, S, kAxes>::gather(double* penalty) const {
  for (int64_t example = 0; example < examples_; ++example)
    penalty[example] = sums_.total(example) / double(stencil_.cells().voxels());
}

template <typename T, typename S, int kAxes, typename Force>
JacobianGradient<T, S, kAxes, Force>::JacobianGradient(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                                                       const Force& force, S* out)
    : stencil_(stencil), examples_(examples), force_(force),
      band_rows_(std::min(kAxes == 3 ? 16 : 64, stencil.size.y)),
      bands_((stencil.size.y + band_rows_ - 1) / band_rows_), out_(out) {}

template <typename T, typename S, int kAxes, typename Force>
void JacobianGradient<T, S, kAxes, Force>::run(int64_t first, int64_t last) const {
  GradientScratch<T, kAxes> scratch(stencil_.size.x, band_rows_);
  for (int64_t block = first; block < last; ++block) {
    const int32_t begin = int32_t(block % bands_) * band_rows_, end = std::min(begin + band_rows_, stencil_.size.y);
    write_band(stencil_, force_, block / bands_, begin, end, scratch, out_);
  }
}

#define MEDADV_INSTANTIATE_AXES(T, S, kAxes)                         \
  template class JacobianDeterminant<T, S, kAxes>;                   \
  template class FoldingPenalty<T, S, kAxes>;                        \
  template class JacobianGradient<T, S, kAxes, GivenForce<S>>;       \
  template class JacobianGradient<T, S, kAxes, FoldingForce>;
#define MEDADV_INSTANTIATE(T, S)     \
  MEDADV_INSTANTIATE_AXES(T, S, 2) \
  MEDADV_INSTANTIATE_AXES(T, S, 3)
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)

}  // namespace medadv::cpu
