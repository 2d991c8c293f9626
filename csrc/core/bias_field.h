// The multiplicative bias field y = x exp(B(c)), voxel by voxel: the definition that every faster path must match.
#pragma once

#include <cmath>

#include "core/spline_field.h"

namespace medadv {

// Channels of an image, and how many of them share one lattice (all of them, or each its own).
struct Channels {
  int64_t count;     // examples times channels
  int64_t per_knot;  // channels that share a lattice: C for one lattice per example, else 1

  MEDADV_HD int64_t lattice_of(int64_t channel) const { return channel / per_knot; }
};

MEDADV_HD float exact_exp(float v) { return expf(v); }
MEDADV_HD double exact_exp(double v) { return exp(v); }

// T: arithmetic type; S: storage type (float16 and bfloat16 are computed in float32).
template <typename T, typename S>
struct BiasField {
  Lattice g;
  Channels channels;
  const S *image, *c;
  S* out;

  MEDADV_HD T gain(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    return exact_exp(Stencil<T>(g, z, y, x).gather(g, c + channels.lattice_of(channel) * g.knots()));
  }

  MEDADV_HD void operator()(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    const int64_t at = channel * g.voxels() + (int64_t(z) * g.y.size + y) * g.x.size + x;
    out[at] = S(T(image[at]) * gain(channel, z, y, x));
  }
};

}  // namespace medadv
