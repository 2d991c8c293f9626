// The gain exp(B) of a B-spline lattice, row by row.
#pragma once

#include <type_traits>

#include "core/exp.h"
#include "cpu/spline_rows.h"

namespace medadv::cpu {

// The gain exp(B) of a block.
//
// Where the field of the whole block stays within 1/2 of its middle m (a gain ratio of e, far more than a
// scanner's), exp(B) = exp(m) exp(B - m), and the second factor needs no range reduction: `narrow`.
template <typename T>
struct BlockGain {
  ControlRows<T> control;
  bool narrow = false;
  T middle = 0;
  T scale = 1;

  explicit BlockGain(const SplineRows<T>& s) : control(s) {}

  template <typename S>
  void spread(const SplineRows<T>& s, const Block& block, const S* c) {
    control.spread(s, block, c);
    if constexpr (std::is_same_v<T, float>) {
      const T half = (control.high - control.low) / 2;
      narrow = half <= kExpReach * 0.999f;  // false for NaN
      middle = narrow ? control.low + half : T(0);
      scale = exp_anywhere(middle);
    }
  }
};

// Calls body(i, gain) for every voxel of a row; a body touches voxel i alone.
template <typename T, typename Body>
void for_each_gain(const SplineRows<T>& s, const BlockGain<T>& gain, const FieldRow<T>& field, const Body& body) {
  if constexpr (std::is_same_v<T, float>) {
    if (gain.narrow) {
      const T scale = gain.scale;
      MEDADV_INDEPENDENT
      for (int32_t i = 0; i < s.g.x.size; ++i) body(i, exp_near_zero(field(i)) * scale);
      return;
    }
  }
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < s.g.x.size; ++i) body(i, exp_anywhere(field(i)));
}

}  // namespace medadv::cpu
