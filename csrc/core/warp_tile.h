// Warping by a B-spline lattice tile by tile, as a block of GPU threads computes it: the tiles of
// core/spline_tile.h, with lines of control points for every component of the displacement.
#pragma once

#include "core/spline_tile.h"
#include "core/warp.h"

namespace medadv {

// Calls voxel(image, at, z, y, x, displacement) for every voxel of a tile; plane = image * depth + z. On a lattice
// too fine for tiles every voxel gathers its own control points; without one, c is null, none is displaced.
template <typename T, int kAxes>
struct TileWarp {
  TileWeights<T> weights;
  TileLines<T> lines[kAxes];

  // c: the lattice of the tile's image.
  template <typename Team, typename D, typename Voxel>
  MEDADV_HD void run(const Team& team, const Tiling<T>& tiling, const TileIndex& tile, int64_t image, int32_t z,
                     const D* c, const Voxel& voxel) {
    const Lattice& g = tiling.g;
    const bool fits = c && tiling.fits();
    if (fits) {
      weights.fill(team, tiling, tile);
      for (int k = 0; k < kAxes; ++k) lines[k].fill(team, tiling, weights, z, c + k * g.knots());
    }
    const int32_t y0 = tile.y * kTileRows<T>, x0 = tile.x * kTileWidth;
    const int32_t rows = smaller(kTileRows<T>, g.y.size - y0), width = smaller(kTileWidth, g.x.size - x0);
    team.each([&](int t) {
      const int32_t x = t % kTileWidth;
      if (x >= width) return;
      for (int32_t row = t / kTileWidth; row < rows; row += Team::size / kTileWidth) {
        T d[kAxes] = {};
        if (fits) {
          MEDADV_UNROLL_BY(kAxes)
          for (int k = 0; k < kAxes; ++k) d[k] = lines[k].field(weights, row, x);
        } else if (c) {
          const Stencil<T> stencil(g, z, y0 + row, x0 + x);
          MEDADV_UNROLL_BY(kAxes)
          for (int k = 0; k < kAxes; ++k) d[k] = stencil.gather(g, c + k * g.knots());
        }
        const int64_t at = (int64_t(z) * g.y.size + y0 + row) * g.x.size + x0 + x;
        voxel(image, at, z, y0 + row, x0 + x, d);
      }
    });
  }
};

}  // namespace medadv
