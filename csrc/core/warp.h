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

// Weights of the four voxels around position t in [0, 1) between the middle two, and their derivatives.
template <typename T>
MEDADV_HD void convolution_weights(T t, T w[4]) {
  const T a = T(-0.75), s = T(1) - t;
  w[0] = a * t * s * s;
  w[1] = ((a + T(2)) * t - (a + T(3))) * t * t + T(1);
  w[2] = ((a + T(2)) * s - (a + T(3))) * s * s + T(1);
  w[3] = a * s * t * t;
}

template <typename T>
MEDADV_HD void convolution_slopes(T t, T w[4]) {
  const T a = T(-0.75), s = T(1) - t;
  w[0] = a * s * (T(1) - T(3) * t);
  w[1] = (T(3) * (a + T(2)) * t - T(2) * (a + T(3))) * t;
  w[2] = (T(2) * (a + T(3)) - T(3) * (a + T(2)) * s) * s;
  w[3] = a * t * (T(2) - T(3) * t);
}

template <Interpolation kind>
inline constexpr int kTaps = kind == Interpolation::nearest ? 1 : kind == Interpolation::linear ? 2 : 4;

// Voxels along one axis that make up the sample at i + d, with weights and derivatives.
template <typename T, Interpolation kind>
struct AxisTaps {
  int32_t at[kTaps<kind>];  // -1 where the continued image is zero
  T w[kTaps<kind>], slope[kTaps<kind>];

  // Of an axis that is not there (the depth of a 2D image).
  MEDADV_HD AxisTaps() {
    for (int k = 0; k < kTaps<kind>; ++k) {
      at[k] = k == 0 ? 0 : -1;
      w[k] = T(k == 0);
      slope[k] = T(0);
    }
  }

  MEDADV_HD AxisTaps(int32_t i, T d, int32_t size, Padding padding) {
    const Split<T> split(d);
    int32_t first = i + split.whole;
    if constexpr (kind == Interpolation::nearest) {
      first = nearest_voxel(i, split);
      w[0] = T(1);
      slope[0] = T(0);
    } else if constexpr (kind == Interpolation::linear) {
      w[0] = T(1) - split.part;
      w[1] = split.part;
      slope[0] = T(-1);
      slope[1] = T(1);
    } else {
      first -= 1;
      convolution_weights(split.part, w);
      convolution_slopes(split.part, slope);
    }
    for (int k = 0; k < kTaps<kind>; ++k) at[k] = continued(first + k, size, padding);
  }
};

// All voxels that make up one sample: kTaps to the power of the axes, with separable weights.
template <typename T, Interpolation kind, int kAxes>
struct WarpTaps {
  static constexpr int kDepth = kAxes == 3 ? kTaps<kind> : 1;
  AxisTaps<T, kind> z, y, x;

  // d: displacement along every axis.
  MEDADV_HD WarpTaps(const Sampling& s, int32_t iz, int32_t iy, int32_t ix, const T d[kAxes])
      : z(kAxes == 3 ? AxisTaps<T, kind>(iz, d[0], s.z, s.padding) : AxisTaps<T, kind>()),
        y(iy, d[kAxes - 2], s.y, s.padding), x(ix, d[kAxes - 1], s.x, s.padding) {}

  // Calls f(offset, a, b, c) for tap a of the depth, b of the height and c of the width, where they are voxels.
  template <typename F>
  MEDADV_HD void each(const Sampling& s, const F& f) const {
    MEDADV_FULL_UNROLL
    for (int a = 0; a < kDepth; ++a)
      MEDADV_FULL_UNROLL
      for (int b = 0; b < kTaps<kind>; ++b)
        MEDADV_FULL_UNROLL
        for (int c = 0; c < kTaps<kind>; ++c)
          if ((z.at[a] | y.at[b] | x.at[c]) >= 0)
            f((int64_t(z.at[a]) * s.y + y.at[b]) * s.x + x.at[c], a, b, c);
  }

  // image: one channel.
  template <typename S>
  MEDADV_HD T value(const Sampling& s, const S* image) const {
    T sum = 0;
    each(s, [&](int64_t at, int a, int b, int c) { sum += z.w[a] * y.w[b] * x.w[c] * T(image[at]); });
    return sum + undefined();
  }

  // Adds force times the derivative of the value along every axis.
  template <typename S>
  MEDADV_HD void add_slopes(const Sampling& s, const S* image, T force, T sum[kAxes]) const {
    T along[3] = {T(0), T(0), T(0)};
    each(s, [&](int64_t at, int a, int b, int c) {
      const T v = T(image[at]);
      along[0] += z.slope[a] * y.w[b] * x.w[c] * v;
      along[1] += z.w[a] * y.slope[b] * x.w[c] * v;
      along[2] += z.w[a] * y.w[b] * x.slope[c] * v;
    });
    for (int k = 0; k < kAxes; ++k) sum[k] += force * (along[3 - kAxes + k] + undefined());
  }

 private:
  // NaN where a displacement is, also where no voxel is near: 0 times a weight.
  MEDADV_HD T undefined() const { return T(0) * (z.w[0] + y.w[0] + x.w[0]); }
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

// Its gradients: grad_displacement [images, axes, z, y, x] is written, and every tap's share of a gradient goes to
// add(offset, share) for the image's. Either may be left out, by null and by NoImage.
struct NoImage {
  template <typename T>
  MEDADV_HD void operator()(int64_t, T) const {}
};

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
        add(channel * s.voxels() + to, force * taps.z.w[a] * taps.y.w[b] * taps.x.w[c]);
      });
    }
    if (grad_displacement)
      for (int k = 0; k < kAxes; ++k) grad_displacement[(n * kAxes + k) * s.voxels() + at] = G(sum[k]);
  }
};

}  // namespace medadv
