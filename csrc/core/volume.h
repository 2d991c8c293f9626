// The voxels of one image. A 2D image has depth 1.
#pragma once

#include <cstdint>

#include "core/platform.h"

namespace medadv {

struct Volume {
  int32_t z, y, x;

  MEDADV_HD int64_t plane() const { return int64_t(y) * x; }
  MEDADV_HD int64_t voxels() const { return z * plane(); }
  MEDADV_HD int64_t offset(int32_t iz, int32_t iy, int32_t ix) const { return (int64_t(iz) * y + iy) * x + ix; }
};

}  // namespace medadv
