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

  // How far its rows are displaced along the slowest axis: a spline stays in the hull of its control points.
  template <typename D>
  Reach reach(const Block& block, const D* c);

  // Displaces row y of that block.
  void displace(const Block& block, int32_t y, WarpRow<T>& row) const;

 private:
  const SplineRows<T>& s_;
  std::vector<ControlRows<T>> controls_;
};

// The rows of blocks [begin, end), all of one image.
template <typename T>
Slab slab_of_blocks(const SplineRows<T>& s, int64_t begin, int64_t end) {
  const Block first = s.block(begin), last = s.block(end - 1);
  const int64_t start = first.channel * s.g.voxels();
  return {s.row_offset(first, s.first_row(first)) - start, s.row_offset(last, s.end_row(last)) - start};
}

// Whether a block may land in a slab. c: the lattice of its image.
template <typename T, typename D>
bool enters(SplineMotion<T>& motion, const SplineRows<T>& rows, const Sampling& s, const Slab& slab, int64_t index,
            const D* c) {
  const Block block = rows.block(index);
  return motion.reach(block, c).enters(slab, s, block.z, rows.first_row(block), rows.end_row(block) - 1);
}

// forces: [rows of the band, stride], of one component.
template <typename T>
void add_forces(const SplineRows<T>& s, int64_t index, const T* forces, Scratch<T>& scratch,
                SplineAdjoint<T>& adjoint);

}  // namespace medadv::cpu
