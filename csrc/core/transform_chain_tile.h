// The chain of transforms tile by tile, as a block of GPU threads computes it: the tiles of core/warp_tile.h, and lines
// of control points of the gain beside them, where one is shared by all channels. Gains of their own channels are
// gathered voxel by voxel, and so is one on a lattice too fine for tiles.
#pragma once

#include "core/transform_chain.h"
#include "core/warp_tile.h"

namespace medadv {

// B at a voxel, of any channel of image n.
template <typename T, typename S>
struct LogGainAt {
  const Chain<T, S>& chain;
  int64_t n;
  int32_t z, y, x;
  bool in_tile;  // the field below, of all channels
  T field;

  MEDADV_HD T operator()(int64_t k) const {
    if (in_tile || !chain.log_gain) return field;
    const S* c = chain.log_gain + chain.gain_of(n, k) * chain.gain.knots();
    return Stencil<T>(chain.gain, z, y, x).gather(chain.gain, c);
  }
};

// Calls voxel(image, at, z, y, x, displacement, log gain) for every voxel of a tile; plane = image * depth + z.
template <typename T, int kAxes>
struct TileChain {
  TileWarp<T, kAxes> warp;
  TileWeights<T> weights;
  TileLines<T> lines;

  template <typename Team, typename S, typename Voxel>
  MEDADV_HD void run(const Team& team, const Tiling<T>& motion, const Tiling<T>& gain, const TileIndex& tile,
                     int64_t image, int32_t z, const Chain<T, S>& chain, const Voxel& voxel) {
    const bool in_tile = chain.gains == 1 && gain.fits();
    if (in_tile) {
      weights.fill(team, gain, tile);
      lines.fill(team, gain, weights, z, chain.log_gain + chain.gain_of(image, 0) * gain.g.knots());
    }
    const int32_t y0 = tile.y * kTileRows<T>, x0 = tile.x * kTileWidth;
    warp.run(team, motion, tile, image, z, chain.displacement_of(image),
             [&](int64_t n, int64_t at, int32_t depth, int32_t y, int32_t x, const T d[kAxes]) {
               const T field = in_tile ? lines.field(weights, y - y0, x - x0) : T(0);
               voxel(n, at, depth, y, x, d, LogGainAt<T, S>{chain, n, depth, y, x, in_tile, field});
             });
  }
};

}  // namespace medadv
