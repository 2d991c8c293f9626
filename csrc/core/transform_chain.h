// A warp, then a bias field, then noise, then a clip, voxel by voxel:
//   y(p) = clip(o + (x(p + d(p)) - o) exp(B(p)) + n(p)),
// with d and B the cubic B-splines of two lattices, and o the origin of intensities (air, in HU). A stage that is left
// out is a null pointer: no displacement, a gain of 1, no noise. The samples are those of core/warp.h; the derivative
// of the clip is that of torch's clamp, 1 inside the bounds and on them.
// T: arithmetic type; S: storage type.
#pragma once

#include "core/bias_field.h"
#include "core/warp.h"

namespace medadv {

template <typename T, typename S>
struct Chain {
  Sampling s;             // nearest, where nothing is displaced
  Lattice motion, gain;   // any over the image, where the stage is left out
  int64_t gains, noises;  // channels of log_gain and of noise: 1 or the image's; 0 where left out
  T origin, low, high;    // from minus to plus infinity, where nothing is clipped
  bool clips;
  const S *image, *displacement, *log_gain, *noise;

  // Before the clip.
  MEDADV_HD T settle(T x, T factor, T added) const { return origin + (x - origin) * factor + added; }
  MEDADV_HD T clip(T u) const { return u < low ? low : u > high ? high : u; }
  MEDADV_HD bool passes(T u) const { return !clips || (u >= low && u <= high); }

  // Of channel k of image n: its own, or the only one.
  MEDADV_HD int64_t gain_of(int64_t n, int64_t k) const { return n * gains + (gains == 1 ? 0 : k); }
  MEDADV_HD int64_t noise_of(int64_t n, int64_t k) const { return n * noises + (noises == 1 ? 0 : k); }

  MEDADV_HD const S* displacement_of(int64_t n) const {
    return displacement ? displacement + n * s.axes * motion.knots() : nullptr;
  }

  MEDADV_HD T noise_at(int64_t n, int64_t k, int64_t at) const {
    return noise ? T(noise[noise_of(n, k) * s.voxels() + at]) : T(0);
  }
};

// Where gradients go, in the shapes of the arguments; null where none is wanted.
template <typename S>
struct ChainGradients {
  S *image, *displacement, *log_gain, *noise;
};

// What the chain does at voxel `at` = (z, y, x) of image n, for all its channels. log_gain(k): B there, of channel k.
template <typename T, typename S, Interpolation kind, int kAxes>
struct ChainVoxel {
  Chain<T, S> chain;
  S* out;

  template <typename LogGain>
  MEDADV_HD void operator()(int64_t n, int64_t at, int32_t z, int32_t y, int32_t x, const T d[kAxes],
                            const LogGain& log_gain) const {
    const Sampling& s = chain.s;
    const WarpTaps<T, kind, kAxes> taps(s, z, y, x, d);
    for (int64_t k = 0; k < s.channels; ++k) {
      const int64_t channel = (n * s.channels + k) * s.voxels();
      const T sample = taps.value(s, chain.image + channel);
      out[channel + at] = S(chain.clip(chain.settle(sample, exact_exp(log_gain(k)), chain.noise_at(n, k, at))));
    }
  }
};

// Its gradients. The forces on the lattices are written where not null, motion_force [images, axes, z, y, x] and
// gain_force [images, gains, z, y, x], and grad_noise; every tap's share goes to add(offset, share) for the image's.
template <typename T, typename S, Interpolation kind, int kAxes, typename AddImage>
struct ChainGradientVoxel {
  Chain<T, S> chain;
  const S* grad;
  T *motion_force, *gain_force;
  S* grad_noise;
  AddImage add;

  template <typename LogGain>
  MEDADV_HD void operator()(int64_t n, int64_t at, int32_t z, int32_t y, int32_t x, const T d[kAxes],
                            const LogGain& log_gain) const {
    const Sampling& s = chain.s;
    const WarpTaps<T, kind, kAxes> taps(s, z, y, x, d);
    T motion[kAxes] = {}, gain_sum = T(0), noise_sum = T(0);
    const auto add_channel = [&](int64_t k) {
      const int64_t channel = (n * s.channels + k) * s.voxels();
      const S* image = chain.image + channel;
      const T factor = exact_exp(log_gain(k)), sample = chain.clips || gain_force ? taps.value(s, image) : T(0);
      const bool passes = chain.passes(chain.settle(sample, factor, chain.noise_at(n, k, at)));
      const T passed = passes ? T(grad[channel + at]) : T(0), through = passed * factor;
      noise_sum += passed;
      gain_sum += through * (sample - chain.origin);
      if (k + 1 == s.channels || chain.noises > 1) {
        if (grad_noise) grad_noise[chain.noise_of(n, k) * s.voxels() + at] = S(noise_sum);
        noise_sum = T(0);
      }
      if (k + 1 == s.channels || chain.gains > 1) {
        if (gain_force) gain_force[chain.gain_of(n, k) * s.voxels() + at] = gain_sum;
        gain_sum = T(0);
      }
      if (motion_force) taps.add_slopes(s, image, through, motion);
      taps.each(s, [&](int64_t to, int a, int b, int c) {
        add(channel + to, through * taps.weight_z(a) * taps.y.weight(b) * taps.x.weight(c));
      });
    };
    if constexpr (kind == Interpolation::linear) {
      MEDADV_UNROLL_BY(1)  // or it spills registers; the other two kinds spill with this
      for (int64_t k = 0; k < s.channels; ++k) add_channel(k);
    } else {
      for (int64_t k = 0; k < s.channels; ++k) add_channel(k);
    }
    if (motion_force)
      for (int i = 0; i < kAxes; ++i) motion_force[(n * kAxes + i) * s.voxels() + at] = motion[i];
  }
};

}  // namespace medadv
