// log() as straight-line arithmetic, so that loops over it vectorise.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/platform.h"

namespace medadv {

// log(v) for v from the smallest normal number up: relative error below 3e-7, and exactly 0 at 1. v = 2^n (1 + f) with
// 1 + f between the roots of 1/2 and 2, and log(1 + f) = f - f^2 / 2 + f^3 q(f). Minimax fit, ours.
inline float log_positive(float v) {
  constexpr int32_t kRootHalf = 0x3f3504f3;
  int32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  const int32_t n = (bits - kRootHalf) >> 23, rest = bits - n * (1 << 23);
  float m;
  std::memcpy(&m, &rest, sizeof rest);
  const float f = m - 1.f, power = float(n);
  float q = -7.634497e-2f * f + 0.127615765f;
  q = q * f - 0.131601825f;
  q = q * f + 0.142017573f;
  q = q * f - 0.166233569f;
  q = q * f + 0.200012267f;
  q = q * f - 0.250008196f;
  q = q * f + 0.333333313f;
  const float correction = f * f * (q * f - 0.5f) - power * 2.12194440e-4f;  // ln 2 in two parts (Cody and Waite)
  return power * 0.693359375f + (correction + f);
}

inline double log_positive(double v) { return std::log(v); }

}  // namespace medadv
