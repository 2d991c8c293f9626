// Noise added to an image, and clipped, voxel by voxel, so that a budget holds to the last bit.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/platform.h"

namespace medadv {

// A number that is none goes through.
template <typename S>
MEDADV_HD S clipped(S value, S low, S high) {
  const S above = value < low ? low : value;
  return above > high ? high : above;
}

// base + change, rounded to the neighbour on the side of target where it was rounded away from it. Rounding to nearest
// can put the sum further from the base than the change is long; with the base as its target this never does. The error
// of the sum is exact: TwoSum (Knuth, The Art of Computer Programming, vol. 2, 4.2.2).
template <typename S>
MEDADV_HD S add_towards(S base, S change, S target) {
  using Bits = std::conditional_t<sizeof(S) == 4, int32_t, int64_t>;
  S total = base + change;
  const S back = total - base, error = (base - (total - back)) + (change - back);
  const bool down = (error < 0) & (total > target), up = (error > 0) & (total < target);
  // The bits grow with the size of the number.
  const Bits step = (total > 0 ? Bits(up) - Bits(down) : Bits(down) - Bits(up));
  Bits bits;
  std::memcpy(&bits, &total, sizeof bits);
  bits += step;
  std::memcpy(&total, &bits, sizeof bits);
  return total;
}

// Noise that keeps the image inside [low, high] and itself inside [-radius, radius].
template <typename S>
MEDADV_HD S clipped_noise(S noise, S image, S low, S high, S radius) {
  return clipped(clipped(noise, low - image, high - image), -radius, radius);
}

template <typename S>
struct NoisyImage {
  const S *image, *noise, *towards;
  S low, high;
  S* out;

  MEDADV_HD void operator()(int64_t i) const {
    out[i] = clipped(add_towards(image[i], noise[i], towards[i]), low, high);
  }
};

template <typename S>
struct ClippedNoise {
  const S *image, *noise;
  S low, high, radius;
  S* out;

  MEDADV_HD void operator()(int64_t i) const { out[i] = clipped_noise(noise[i], image[i], low, high, radius); }
};

// Noise after a step of the sign of a gradient; no step where that is no number.
template <typename S>
struct SteppedNoise {
  const S *image, *noise, *gradient;
  S length, low, high, radius;
  S* out;

  MEDADV_HD void operator()(int64_t i) const {
    const S sign = S(gradient[i] > 0) - S(gradient[i] < 0);
    out[i] = clipped_noise(noise[i] + length * sign, image[i], low, high, radius);
  }
};

}  // namespace medadv
