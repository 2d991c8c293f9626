// Warping, y(p) = x(p + d(p)), voxel by voxel: the definition that every faster path must match.
//
// The image is continued beyond its borders (by zeros, by its border voxels, or by its mirror images), then
// interpolated between voxels: nearest, linear, or the cubic convolution of Keys (1981) with a = -0.75. These are
// the samples of torch's grid_sample with align_corners. A position is kept as the voxel and its displacement
// apart, so that rounding does not grow with the image.
// T: arithmetic type; S: storage type of the image; D: of the displacement.
#pragma once

#include <cstdint>

#include "core/platform.h"

namespace medadv {

enum class Interpolation : int32_t { nearest, linear, cubic };
enum class Padding : int32_t { zeros, border, reflection };

// Images [images, channels, z, y, x] and displacements [images, axes, z, y, x], in voxels; z is 1 in 2D. An axis
// has less than 2^30 voxels and a channel less than 2^31: checked where tensors come in.
struct Sampling {
  int64_t images, channels;
  int32_t z, y, x;
  int32_t axes;
  Interpolation interpolation;
  Padding padding;

  MEDADV_HD int64_t plane() const { return int64_t(y) * x; }
  MEDADV_HD int64_t voxels() const { return z * plane(); }
};

// d = whole + part, part in [0, 1). What is further away than any image counts as just that far; the part of a
// NaN is NaN, and so is what is interpolated there.
inline constexpr int32_t kFar = 1 << 30;

template <typename T>
struct Split {
  int32_t whole;
  T part;

  MEDADV_HD explicit Split(T d) {
    const T near = d > T(-kFar) ? (d < T(kFar) ? d : T(kFar)) : T(-kFar);
    whole = int32_t(near);
    whole -= T(whole) > near;
    part = d == d ? near - T(whole) : d;
  }
};

// The voxel nearest to i + d; halfway between two, the even one.
template <typename T>
MEDADV_HD int32_t nearest_voxel(int32_t i, const Split<T>& d) {
  const int32_t below = i + d.whole;
  return below + (d.part > T(0.5) || (d.part == T(0.5) && (below & 1)));
}

// The voxel that stands at index i of the continued image, or -1 where that is zero.
MEDADV_HD int32_t continued(int32_t i, int32_t size, Padding padding) {
  if (uint32_t(i) < uint32_t(size)) return i;
  if (padding == Padding::zeros) return -1;
  if (padding == Padding::border || size == 1) return i < 0 ? 0 : size - 1;
  const uint32_t period = 2 * uint32_t(size - 1), at = uint32_t(i < 0 ? -i : i) % period;
  return int32_t(at < uint32_t(size) ? at : period - at);
}

// Weight of voxel k of four around position t in [0, 1) between the middle two, and its derivative.
template <typename T>
MEDADV_HD T convolution_weight(int k, T t) {
  const T a = T(-0.75), r = k < 2 ? t : T(1) - t, s = T(1) - r;
  return k == 0 || k == 3 ? a * r * s * s : ((a + T(2)) * r - (a + T(3))) * r * r + T(1);
}

template <typename T>
MEDADV_HD T convolution_slope(int k, T t) {
  const T a = T(-0.75), r = k < 2 ? t : T(1) - t, s = T(1) - r;
  const T slope = k == 0 || k == 3 ? a * s * (s - T(2) * r) : (T(3) * (a + T(2)) * r - T(2) * (a + T(3))) * r;
  return k < 2 ? slope : -slope;
}

template <Interpolation kind>
inline constexpr int kTaps = kind == Interpolation::nearest ? 1 : kind == Interpolation::linear ? 2 : 4;

// Voxels along one axis that make up the sample at i + d, with weights and derivatives.
template <typename T, Interpolation kind>
struct AxisTaps {
  int32_t first, size;
  T part;
  Padding padding;

  MEDADV_HD AxisTaps(int32_t i, T d, int32_t voxels, Padding outside) : size(voxels), padding(outside) {
    const Split<T> split(d);
    part = split.part;
    if constexpr (kind == Interpolation::nearest) first = nearest_voxel(i, split);
    if constexpr (kind == Interpolation::linear) first = i + split.whole;
    if constexpr (kind == Interpolation::cubic) first = i + split.whole - 1;
  }

  // -1 where the continued image is zero.
  MEDADV_HD int32_t at(int k) const { return continued(first + k, size, padding); }

  MEDADV_HD T weight(int k) const {
    if constexpr (kind == Interpolation::nearest) return T(1);
    if constexpr (kind == Interpolation::linear) return k ? part : T(1) - part;
    if constexpr (kind == Interpolation::cubic) return convolution_weight(k, part);
  }

  MEDADV_HD T slope(int k) const {
    if constexpr (kind == Interpolation::nearest) return T(0);
    if constexpr (kind == Interpolation::linear) return T(k ? 1 : -1);
    if constexpr (kind == Interpolation::cubic) return convolution_slope(k, part);
  }

  // 0, or NaN where the displacement is.
  MEDADV_HD T undefined() const { return kind == Interpolation::nearest ? T(0) : T(0) * part; }
};

// All voxels that make up one sample: kTaps to the power of the axes, with separable weights.
template <typename T, Interpolation kind, int kAxes>
struct WarpTaps {
  using Axis = AxisTaps<T, kind>;
  Axis z, y, x;  // in 2D a z of one tap

  // d: displacement along every axis.
  MEDADV_HD WarpTaps(const Sampling& s, int32_t iz, int32_t iy, int32_t ix, const T d[kAxes])
      : z(iz, d[0], s.z, s.padding), y(iy, d[kAxes - 2], s.y, s.padding), x(ix, d[kAxes - 1], s.x, s.padding) {}

  // Calls f(offset, a, b, c) for tap a of the depth, b of the height and c of the width, where they are voxels.
  template <typename F>
  MEDADV_HD void each(const Sampling& s, const F& f) const {
    constexpr int kDepth = kAxes == 3 ? kTaps<kind> : 1;
    [[maybe_unused]] constexpr int kLines = kind == Interpolation::cubic ? 1 : kTaps<kind>;
    int32_t at_x[kTaps<kind>];
    MEDADV_UNROLL_BY(kTaps<kind>)
    for (int c = 0; c < kTaps<kind>; ++c) at_x[c] = x.at(c);
    MEDADV_UNROLL_BY(kLines)
    for (int a = 0; a < kDepth; ++a) {
      const int32_t at_z = kAxes == 3 ? z.at(a) : 0;
      MEDADV_UNROLL_BY(kLines)
      for (int b = 0; b < kTaps<kind>; ++b) {
        const int32_t at_y = y.at(b);
        if ((at_z | at_y) < 0) continue;
        const int64_t line = (int64_t(at_z) * s.y + at_y) * s.x;
        MEDADV_UNROLL_BY(kTaps<kind>)
        for (int c = 0; c < kTaps<kind>; ++c)
          if (at_x[c] >= 0) f(line + at_x[c], a, b, c);
      }
    }
  }

  MEDADV_HD T weight_z(int a) const { return kAxes == 3 ? z.weight(a) : T(1); }

  // image: one channel.
  template <typename S>
  MEDADV_HD T value(const Sampling& s, const S* image) const {
    T sum = undefined();
    each(s, [&](int64_t at, int a, int b, int c) { sum += weight_z(a) * y.weight(b) * x.weight(c) * T(image[at]); });
    return sum;
  }

  // Adds force times the derivative of the value along every axis.
  template <typename S>
  MEDADV_HD void add_slopes(const Sampling& s, const S* image, T force, T sum[kAxes]) const {
    T along_z = undefined(), along_y = undefined(), along_x = undefined();
    each(s, [&](int64_t at, int a, int b, int c) {
      const T v = T(image[at]), w = weight_z(a) * v;
      along_z += z.slope(a) * y.weight(b) * x.weight(c) * v;
      along_y += y.slope(b) * x.weight(c) * w;
      along_x += y.weight(b) * x.slope(c) * w;
    });
    if constexpr (kAxes == 3) sum[0] += force * along_z;
    sum[kAxes - 2] += force * along_y;
    sum[kAxes - 1] += force * along_x;
  }

 private:
  MEDADV_HD T undefined() const { return (kAxes == 3 ? z.undefined() : T(0)) + y.undefined() + x.undefined(); }
};

// Reads the displacement at a voxel of a dense field, [images, axes, z, y, x].
template <typename T, typename D, int kAxes>
struct DenseDisplacement {
  const D* d;

  MEDADV_HD void operator()(const Sampling& s, int64_t image, int64_t at, T out[kAxes]) const {
    for (int k = 0; k < kAxes; ++k) out[k] = T(d[(image * kAxes + k) * s.voxels() + at]);
  }
};

// What warping does at voxel `at` = (z, y, x) of an image, for all its channels.
template <typename T, typename S, Interpolation kind, int kAxes>
struct WarpVoxel {
  Sampling s;
  const S* image;
  S* out;

  MEDADV_HD void operator()(int64_t n, int64_t at, int32_t z, int32_t y, int32_t x, const T d[kAxes]) const {
    const WarpTaps<T, kind, kAxes> taps(s, z, y, x, d);
    for (int64_t channel = n * s.channels; channel < (n + 1) * s.channels; ++channel)
      out[channel * s.voxels() + at] = S(taps.value(s, image + channel * s.voxels()));
  }
};

// The same without arithmetic: labels are copied as they are.
template <typename T, typename S, int kAxes>
struct WarpVoxel<T, S, Interpolation::nearest, kAxes> {
  Sampling s;
  const S* image;
  S* out;

  MEDADV_HD void operator()(int64_t n, int64_t at, int32_t z, int32_t y, int32_t x, const T d[kAxes]) const {
    const WarpTaps<T, Interpolation::nearest, kAxes> taps(s, z, y, x, d);
    for (int64_t channel = n * s.channels; channel < (n + 1) * s.channels; ++channel) {
      S value = S(0);
      taps.each(s, [&](int64_t from, int, int, int) { value = image[channel * s.voxels() + from]; });
      out[channel * s.voxels() + at] = value;
    }
  }
};

// Its gradients: grad_displacement [images, axes, z, y, x] is written unless null, and every tap's share of a gradient
// goes to add(offset, share) for the image's.
template <typename T, typename S, typename G, Interpolation kind, int kAxes, typename AddImage>
struct WarpGradient {
  Sampling s;
  const S *grad, *image;
  G* grad_displacement;
  AddImage add;

  MEDADV_HD void operator()(int64_t n, int64_t at, int32_t z, int32_t y, int32_t x, const T d[kAxes]) const {
    const WarpTaps<T, kind, kAxes> taps(s, z, y, x, d);
    T sum[kAxes] = {};
    for (int64_t channel = n * s.channels; channel < (n + 1) * s.channels; ++channel) {
      const T force = T(grad[channel * s.voxels() + at]);
      if (grad_displacement) taps.add_slopes(s, image + channel * s.voxels(), force, sum);
      taps.each(s, [&](int64_t to, int a, int b, int c) {
        add(channel * s.voxels() + to, force * taps.weight_z(a) * taps.y.weight(b) * taps.x.weight(c));
      });
    }
    if (grad_displacement)
      for (int k = 0; k < kAxes; ++k) grad_displacement[(n * kAxes + k) * s.voxels() + at] = G(sum[k]);
  }
};

}  // namespace medadv
