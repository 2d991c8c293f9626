// Rows of the displacement of a B-spline lattice, and the sum of a block's forces on it.
#pragma once

#include "cpu/spline_adjoint.h"
#include "cpu/warp_rows.h"

namespace medadv::cpu {

template <typename T>
class SplineMotion {
 public:
  SplineMotion(const SplineRows<T>& rows, int32_t axes) : s_(rows), controls_(size_t(axes), ControlRows<T>(rows)) {}

  // Control rows of a block, for every component. c: the lattice of its image.
  template <typename D>
  void spread(const Block& block, const D* c);

  // Displaces row y of that block.
  void displace(const Block& block, int32_t y, WarpRow<T>& row) const;

 private:
  const SplineRows<T>& s_;
  std::vector<ControlRows<T>> controls_;
};

// forces: [rows of the band, stride], of one component.
template <typename T>
void add_forces(const SplineRows<T>& s, int64_t index, const T* forces, Scratch<T>& scratch,
                SplineAdjoint<T>& adjoint);

}  // namespace medadv::cpu
