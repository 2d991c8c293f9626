// Sampling an image along one row of displaced voxels, and the adjoint of that.
//
// Whole rows in long loops: first where every voxel lands (offset of its first tap, and how far past it), then
// the taps, copied into planes of scratch (tap_gather.h), then the arithmetic, which so vectorises without gathers.
// A voxel whose taps all lie in the image is copied without a bounds check; for the few others, at the border, the
// taps in scratch are 0, and the definition is computed one by one.
#pragma once

#include <algorithm>
#include <cstddef>

#include "cpu/image_slab.h"

namespace medadv::cpu {

// Blocks of consecutive rows, counted through all planes and images.
inline constexpr int64_t kRowBlockVoxels = 1 << 14;
inline int64_t rows_of_block(const Sampling& s) { return std::max<int64_t>(1, kRowBlockVoxels / s.x); }
inline int64_t row_blocks(const Sampling& s) {
  return (s.images * s.z * s.y + rows_of_block(s) - 1) / rows_of_block(s);
}

// Arrays of three are along z, y and x (no z in 2D); taps and weights of a voxel lie together.
template <typename T>
class WarpRow {
 public:
  explicit WarpRow(const Sampling& s);

  // The displacements of a row along one of the image's axes: `own` is room for them.
  T* own(int32_t axis) { return &own_[size_t(axis) * stride]; }
  void displace(int32_t axis, const T* along) { d[axis + 3 - s.axes] = along; }

  // Where the voxels of row (z, y) land; slopes: whether gradients to the displacement are wanted. Everything
  // below refers to that row.
  void locate(int32_t row_z, int32_t row_y, bool slopes);

  // out = samples of one channel.
  template <typename S>
  void sample(const S* image, S* out);

  // force[axis][i] += grad[i] times the derivative of sample i along the axis. sampled: the last call was to sample
  // this image, whose taps are still at hand.
  template <typename S>
  void add_slopes(const S* image, const S* grad, T* const* force, bool sampled = false);

  // grad_image += the adjoint of sample, applied to grad, where that is in the slab.
  template <typename S>
  void scatter(const S* grad, T* grad_image, const Slab& slab);

  const Sampling s;
  const int32_t stride;
  int32_t z = 0, y = 0;
  const T* d[3] = {nullptr, nullptr, nullptr};
  Scratch<int32_t> first;         // offset of the first tap; -1 where not all taps are in the image
  Scratch<T> part;                // [3, stride] how far past it
  Scratch<int32_t> border;        // the voxels without all their taps in the image,
  int32_t borders = 0;            // as many as there are
  int32_t furthest = 0;           // the largest offset
  Scratch<T> taps;                // what is being interpolated, or the shares of gradients
  Scratch<T> weight, sum;         // of cubic interpolation

  // Of cubic tap k along an axis, and its derivative.
  T* weights(int32_t axis, int k) { return &weight[size_t(4 * axis + k) * stride]; }
  T* slopes(int32_t axis, int k) { return &weight[size_t(12 + 4 * axis + k) * stride]; }

  template <typename F>
  void for_each_border(const F& f) const {
    for (int32_t b = 0; b < borders; ++b) f(border[size_t(b)]);
  }

  template <Interpolation kind, int kAxes>
  WarpTaps<T, kind, kAxes> taps_of(int32_t i) const {
    T at[kAxes];
    for (int k = 0; k < kAxes; ++k) at[k] = d[3 - kAxes + k][i];
    return {s, z, y, i, at};
  }

 private:
  Scratch<T> own_;  // [3, stride]
};

}  // namespace medadv::cpu
