// Who sums the gradient to an image: a slab of its rows has one owner, which walks all rows of voxels that may land in
// the slab, in their order, and adds what falls into it. So every sum has the same order, and the same bits, however an
// image is cut into slabs: into one for each range of blocks that the caller hands out, and one thread cuts nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/warp.h"
#include "cpu/scratch.h"

namespace medadv::cpu {

// Voxels [begin, end) of a channel: whole rows.
struct Slab {
  int64_t begin, end;

  bool has(int64_t at) const { return begin <= at && at < end; }
};

// Bounds on displacements along the slowest axis, z or in 2D y.
struct Reach {
  double low = INFINITY, high = -INFINITY;

  // NaN may end anywhere: padding decides.
  void add(double d) {
    low = std::min(low, d == d ? d : -INFINITY);
    high = std::max(high, d == d ? d : INFINITY);
  }

  // Whether rows of plane z, or in 2D rows [first, last] of it, may land in a slab; true when in doubt.
  bool enters(const Slab& slab, const Sampling& s, int32_t z, int32_t first, int32_t last) const {
    const int64_t line = s.axes == 3 ? s.plane() : s.x, furthest = (s.axes == 3 ? s.z : s.y) - 1;
    const double margin = 1 + 1e-5 * std::max(std::abs(low), std::abs(high));  // for rounding
    double from = (s.axes == 3 ? z : first) + low - margin - 1, to = (s.axes == 3 ? z : last) + high + margin + 2;
    if (s.padding != Padding::zeros) continue_within(double(furthest), s.padding, from, to);
    return from <= double((slab.end - 1) / line) && to >= double(slab.begin / line);
  }

 private:
  static void continue_within(double furthest, Padding padding, double& from, double& to) {
    const bool mirrored = padding == Padding::reflection;
    if (from < 0) {
      to = std::max(to, mirrored ? -from : 0.0);
      from = 0;
    }
    if (to > furthest) from = std::min(from, mirrored ? 2 * furthest - to : furthest);
  }
};

// Calls f(first, last) for the parts of [first, last) that belong to one image of `per_image` each.
template <typename F>
void for_each_image(int64_t first, int64_t last, int64_t per_image, const F& f) {
  for (int64_t begin = first, end; begin < last; begin = end) {
    end = std::min(last, (begin / per_image + 1) * per_image);
    f(begin, end);
  }
}

// Where a slab of one image (all its channels) is summed: in place, or in float32 for the half types.
template <typename T, typename S>
class SlabSum {
 public:
  SlabSum(const Sampling& s, S* grad_image) : channels_(s.channels), voxels_(s.voxels()), grad_image_(grad_image) {}

  // The channels of the image, zero in the slab; what is outside the slab is not to be touched.
  T* begin(int64_t image, const Slab& slab) {
    T* sum;
    if constexpr (std::is_same_v<T, S>) {
      sum = grad_image_ + image * channels_ * voxels_;
    } else {
      sum_.resize(size_t(channels_ * voxels_));
      sum = sum_.data();
    }
    for (int64_t k = 0; k < channels_; ++k)
      std::fill(sum + k * voxels_ + slab.begin, sum + k * voxels_ + slab.end, T(0));
    return sum;
  }

  void end(int64_t image, const Slab& slab) const {
    if constexpr (!std::is_same_v<T, S>)
      for (int64_t k = 0; k < channels_; ++k)
        for (int64_t i = k * voxels_ + slab.begin; i < k * voxels_ + slab.end; ++i)
          grad_image_[image * channels_ * voxels_ + i] = S(sum_[size_t(i)]);
  }

 private:
  int64_t channels_, voxels_;
  S* grad_image_;
  Scratch<T> sum_;
};

}  // namespace medadv::cpu
