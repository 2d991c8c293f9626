// The length of a row of numbers, or of the difference of two, in float64; and what it is multiplied by to get another.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/platform.h"

namespace medadv {

enum class RowNorm { linf, l1, l2 };

// One number's part of the length, how two parts are joined, and what comes of all of them. Largest sizes are compared by
// their bits, which grow with the size; what is no number stands above all.
template <RowNorm kNorm>
struct RowPart {
  using Type = double;

  static MEDADV_HD double of(double value) { return kNorm == RowNorm::l2 ? value * value : fabs(value); }
  static MEDADV_HD double join(double a, double b) { return a + b; }
  static MEDADV_HD double length(double joined) { return kNorm == RowNorm::l2 ? sqrt(joined) : joined; }
};

template <>
struct RowPart<RowNorm::linf> {
  using Type = int64_t;

  static MEDADV_HD int64_t of(double value) {
    const double size = fabs(value);
    int64_t bits;
    std::memcpy(&bits, &size, sizeof bits);
    return bits;
  }
  static MEDADV_HD int64_t join(int64_t a, int64_t b) { return a > b ? a : b; }
  static MEDADV_HD double length(int64_t joined) {
    double size;
    std::memcpy(&size, &joined, sizeof size);
    return size;
  }
};

// Factors of rows by their length: to length 1 (a row of zeros stays, and one whose factor would overflow), and into a
// ball of a radius.
struct ToUnit {
  static constexpr double kShortest = 2.2250738585072014e-308;  // the smallest normal number
  MEDADV_HD double operator()(double length, int64_t = 0) const { return length < kShortest ? 1 : 1 / length; }
};
struct IntoBall {
  double radius, within;  // a row that is longer than the radius gets the length `within` times that
  MEDADV_HD double operator()(double length, int64_t = 0) const { return length > radius ? within * radius / length : 1; }
};
// A ball of its own for every row; a radius below 0 is 0.
struct IntoBalls {
  const double* radii;
  double within;
  MEDADV_HD double operator()(double length, int64_t row) const {
    return IntoBall{radii[row] > 0 ? radii[row] : 0, within}(length);
  }
};

}  // namespace medadv
