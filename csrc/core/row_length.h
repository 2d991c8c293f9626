// The length of a row of numbers, or of the difference of two, in float64; and what it is multiplied by to get another.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/platform.h"

namespace medadv {

enum class RowNorm { linf, l1, l2 };

// One number's part of the length, how two parts are joined, and what comes of all of them.
template <RowNorm kNorm>
MEDADV_HD double length_part(double value) {
  return kNorm == RowNorm::l2 ? value * value : fabs(value);
}
template <RowNorm kNorm>
MEDADV_HD double join_parts(double a, double b) {
  if (kNorm != RowNorm::linf) return a + b;
  int64_t of_a, of_b;  // neither is negative: the bits grow with the size, and what is no number stands above all
  std::memcpy(&of_a, &a, sizeof a);
  std::memcpy(&of_b, &b, sizeof b);
  return of_a > of_b ? a : b;
}
template <RowNorm kNorm>
MEDADV_HD double length_of_parts(double joined) {
  return kNorm == RowNorm::l2 ? sqrt(joined) : joined;
}

// Factors of rows by their length: to length 1 (a row of zeros stays), and into a ball of a radius.
struct ToUnit {
  MEDADV_HD double operator()(double length) const { return length != 0 ? 1 / length : 1; }
};
struct IntoBall {
  double radius, target;  // a row that is longer than the radius gets the length `target`
  MEDADV_HD double operator()(double length) const { return length > radius ? target / length : 1; }
};

}  // namespace medadv
