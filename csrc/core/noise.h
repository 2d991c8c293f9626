// Noise added to an image, and clipped, voxel by voxel, so that a budget holds to the last bit.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/platform.h"
#include "core/row_length.h"

namespace medadv {

// A number that is none goes through.
template <typename S>
MEDADV_HD S clipped(S value, S low, S high) {
  const S above = value < low ? low : value;
  return above > high ? high : above;
}

// A number's bits, which grow with its size.
template <typename S>
using Bits = std::conditional_t<sizeof(S) == 4, int32_t, int64_t>;

// base + change, rounded to the neighbour on the side of target where it was rounded away from it. Rounding to nearest
// can put the sum further from the base than the change is long; with the base as its target this never does. The error
// of the sum is exact: TwoSum (Knuth, The Art of Computer Programming, vol. 2, 4.2.2).
template <typename S>
MEDADV_HD S add_towards(S base, S change, S target) {
  S total = base + change;
  const S back = total - base, error = (base - (total - back)) + (change - back);
  const bool down = (error < 0) & (total > target), up = (error > 0) & (total < target);
  const int step = (total > 0 ? int(up) - int(down) : int(down) - int(up));
  Bits<S> bits;
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

// An image with noise, rounded towards target, inside [low, high].
template <typename S>
MEDADV_HD S noisy_voxel(S image, S noise, S target, S low, S high) {
  return clipped(add_towards(image, noise, target), low, high);
}

template <typename S>
struct NoisyImage {
  const S *image, *noise, *towards;
  S low, high;
  S* out;

  MEDADV_HD void operator()(int64_t i) const { out[i] = noisy_voxel(image[i], noise[i], towards[i], low, high); }
};

template <typename S>
struct ClippedNoise {
  const S *image, *noise;
  S low, high, radius;
  S* out;

  MEDADV_HD void operator()(int64_t i) const { out[i] = clipped_noise(noise[i], image[i], low, high, radius); }
};

// Noise after a step of the sign of a gradient, and the image with it; no step where that is no number.
template <typename S>
struct SignStep {
  const S *image, *noise, *gradient;
  S length, low, high, radius;
  S *stepped, *noisy;

  MEDADV_HD void operator()(int64_t i) const {
    const S x = image[i], sign = S(gradient[i] > 0) - S(gradient[i] < 0);
    const S moved = clipped_noise(noise[i] + length * sign, x, low, high, radius);
    stepped[i] = moved;
    noisy[i] = noisy_voxel(x, moved, x, low, high);
  }
};

// A radius of a row as a number of type S, rounded down; less than 0 is 0.
template <typename S>
MEDADV_HD S radius_within(double radius) {
  S within = S(radius > 0 ? radius : 0);
  Bits<S> bits;
  std::memcpy(&bits, &within, sizeof bits);
  bits -= within > 0 && double(within) > radius;
  std::memcpy(&within, &bits, sizeof bits);
  return within;
}

// Noise after a step along a gradient whose rows are brought to one length, clipped: row by row.
template <typename S>
struct UnitStep {
  const S *image, *noise, *gradient;
  const double *gradient_lengths, *radii;  // of every row; radii may be null: the noise is not clipped to one
  double length;
  S low, high;
  S* out;

  // What is the same all over a row: what its gradient is multiplied by, and its radius.
  struct Row {
    double scale;
    S radius;
  };
  MEDADV_HD Row row(int64_t number) const {
    const S unlimited = S(HUGE_VAL);
    return {length * ToUnit{}(gradient_lengths[number]), radii ? radius_within<S>(radii[number]) : unlimited};
  }

  MEDADV_HD void operator()(const Row& row, int64_t i) const {
    const S stepped = S(double(noise[i]) + double(gradient[i]) * row.scale);
    out[i] = clipped_noise(stepped, image[i], low, high, row.radius);
  }
};

}  // namespace medadv
