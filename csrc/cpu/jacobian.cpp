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

// The force of an objective on a cell, with what does not change along a row taken out.
template <typename T, typename S>
auto along_row(const GivenForce<S>& force, int64_t, int64_t cell) {
  const S* grad = force.grad + cell;
  return [=](int32_t i, T) { return T(grad[i]); };
}
template <typename T, typename S>
auto along_row(const FoldingForce& force, int64_t example, int64_t) {
  const T scale = T(-2 * force.weight * force.scale[example]), threshold = T(force.threshold);
  return [=](int32_t, T determinant) { return scale * shortfall(threshold, determinant); };
}

// Forces of a row of cells: force[(c * kAxes + a) * stride + i].
template <typename T, typename S, int kAxes, typename Force>
MEDADV_SIMD void force_row(const JacobianStencil<T, S, kAxes>& stencil, const Force& force, int64_t example, int32_t z,
                           int32_t y, T* out, int32_t stride) {
  const JacobianRow<T, S, kAxes> row(stencil, example, z, y);
  const Volume cells = stencil.cells();
  const auto pull = along_row<T, S>(force, example, example * cells.voxels() + cells.offset(z, y, 0));
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < cells.x; ++i) {
    const Deformation<T, kAxes> d = row(i);
    const T f = pull(i, d.determinant());
    MEDADV_UNROLL
    for (int c = 0; c < kAxes; ++c)
      MEDADV_UNROLL
      for (int a = 0; a < kAxes; ++a) out[(c * kAxes + a) * stride + i] = f * row.inverse[a] * d.cofactor(c, a);
  }
}

// Gradient of one component along a row, from the forces of its cells, and those kept from the row above and the
// plane before, which are replaced.
template <bool kDepth, typename T, typename S>
MEDADV_SIMD void gradient_row(const T* depth, const T* height, const T* width, T* before, T* above, int32_t n,
                              S* __restrict out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    T g = (width[i - 1] - width[i]) + (above[i] - height[i]);
    above[i] = height[i];
    if (kDepth) {
      g += before[i] - depth[i];
      before[i] = depth[i];
    }
    out[i] = S(g);
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

// Rows of forces have a zero on either side: no cell lies there.
template <typename T, typename S, int kAxes, typename Force>
struct JacobianGradient<T, S, kAxes, Force>::Scratch {
  int32_t stride;
  std::vector<T> force;   // [component, axis, W]
  std::vector<T> above;   // [component, W]: forces along the height of the row above
  std::vector<T> before;  // [row of the band, component, W]: forces along the depth of the plane before

  Scratch(int32_t width, int32_t rows)
      : stride(padded(width) + kPack), force(size_t(kAxes * kAxes) * stride), above(size_t(kAxes) * stride),
        before(kAxes == 3 ? size_t(rows) * kAxes * stride : 0) {}

  T* force_of(int c, int a) { return &force[size_t(c * kAxes + a) * stride] + kPack; }
};

template <typename T, typename S, int kAxes, typename Force>
JacobianGradient<T, S, kAxes, Force>::JacobianGradient(const JacobianStencil<T, S, kAxes>& stencil, int64_t examples,
                                                       const Force& force, S* out)
    : stencil_(stencil), examples_(examples), force_(force),
      band_rows_(std::min(kAxes == 3 ? 16 : 64, stencil.size.y)),
      bands_((stencil.size.y + band_rows_ - 1) / band_rows_), out_(out) {}

template <typename T, typename S, int kAxes, typename Force>
void JacobianGradient<T, S, kAxes, Force>::run_row(int64_t example, int32_t z, int32_t y, int32_t begin,
                                                   Scratch& scratch) const {
  const Volume &size = stencil_.size, cells = stencil_.cells();
  fetch_components(stencil_, example, z, y);
  if (z < cells.z && y < cells.y && cells.x > 0)
    force_row(stencil_, force_, example, z, y, scratch.force_of(0, 0), scratch.stride);
  else
    std::fill(scratch.force.begin(), scratch.force.end(), T(0));
  for (int c = 0; c < kAxes; ++c) {
    const T *height = scratch.force_of(c, kAxes - 2), *depth = scratch.force_of(c, 0);
    T* above = &scratch.above[size_t(c) * scratch.stride];
    if (y < begin) {  // the row above the band: only what it leaves for the next one is wanted
      std::copy_n(height, size.x, above);
      continue;
    }
    T* before = kAxes == 3 ? &scratch.before[(size_t(y - begin) * kAxes + c) * scratch.stride] : nullptr;
    S* out = out_ + (example * kAxes + c) * size.voxels() + size.offset(z, y, 0);
    gradient_row<kAxes == 3>(depth, height, scratch.force_of(c, kAxes - 1), before, above, size.x, out);
  }
}

template <typename T, typename S, int kAxes, typename Force>
void JacobianGradient<T, S, kAxes, Force>::run(int64_t first, int64_t last) const {
  Scratch scratch(stencil_.size.x, band_rows_);
  for (int64_t block = first; block < last; ++block) {
    const int32_t begin = int32_t(block % bands_) * band_rows_, end = std::min(begin + band_rows_, stencil_.size.y);
    std::fill(scratch.before.begin(), scratch.before.end(), T(0));
    for (int32_t z = 0; z < stencil_.size.z; ++z) {
      std::fill(scratch.above.begin(), scratch.above.end(), T(0));
      for (int32_t y = std::max(0, begin - 1); y < end; ++y) run_row(block / bands_, z, y, begin, scratch);
    }
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
