// exp() as straight-line arithmetic, so that loops over it vectorise.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/platform.h"

namespace medadv {

// exp(r) for |r| <= 1/2: relative error below 4e-8 before rounding, and exactly 1 at 0. Minimax fit, ours.
inline constexpr float kExpReach = 0.5f;
inline float exp_near_zero(float r) {
  float q = 1.373692e-3f * r + 8.40674224e-3f;
  q = q * r + 4.1674023e-2f;
  q = q * r + 0.166660407f;
  q = q * r + 0.499999418f;
  q = q * r + 1.f;
  return q * r + 1.f;
}

// exp(v) for every v: relative error below 2e-7, infinity and zero where exp overflows and underflows.
inline float exp_anywhere(float v) {
  const float c = v < -104.f ? -104.f : (v > 89.f ? 89.f : v);
  const float shifted = c * 1.44269504f + 12582912.f;  // adding 1.5 * 2^23 rounds to an integer in the low bits
  const float n = shifted - 12582912.f;
  const float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts (Cody and Waite)
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  const int32_t power = bits - 0x4b400000, half = power >> 1;  // two factors: 2^128 and 2^-149 fit in neither alone
  const int32_t low = (half + 127) << 23, high = (power - half + 127) << 23;
  float scale_low, scale_high;
  std::memcpy(&scale_low, &low, sizeof low);
  std::memcpy(&scale_high, &high, sizeof high);
  return exp_near_zero(r) * scale_low * scale_high;
}

inline double exp_anywhere(double v) { return std::exp(v); }

}  // namespace medadv
