// Where a bias field is evaluated: the coordinates of voxels, in [-1, 1] along every axis of the image (the centres of
// the first and the last voxel are the ends), and how control points move them.
//
// A regular grid of control points spans the same cube, its first and last points on the ends, whatever the image's
// resolution. Displacements, in the same unit, are either interpolated linearly between the points (a coarse flow) or
// by a thin-plate spline (core/thin_plate_spline.h), which is linear in `weights`.
#pragma once

#include <cstdint>

#include "core/thin_plate_spline.h"
#include "core/volume.h"

namespace medadv {

enum class CoordinateWarp : int32_t { none, thin_plate, flow };

// One axis with `size` voxels and `points` control points; one and one for the depth of a 2D image. The product of the
// two stays below 2^31: checked where tensors come in.
struct FlowAxis {
  int32_t size, points;

  // Cell of voxel i, and the voxel's position t in it: integers, as core/bspline.h has them. An image of one voxel has
  // it in the middle.
  template <typename T>
  MEDADV_HD int32_t locate(int32_t i, T& t) const {
    t = T(0);
    if (points == 1) return 0;
    const uint32_t steps = size == 1 ? 2 : uint32_t(size - 1);
    const uint32_t position = (size == 1 ? 1 : uint32_t(i)) * uint32_t(points - 1);
    uint32_t cell = position / steps;
    if (cell == uint32_t(points - 1)) --cell;  // the last voxel closes the last cell
    t = T(position - cell * steps) / T(steps);
    return int32_t(cell);
  }

  // First voxel of a cell, or `size` for the cell past the last one.
  MEDADV_HD int32_t begin(int32_t cell) const {
    if (cell <= 0) return 0;
    if (cell >= points - 1) return size;
    if (size == 1) return cell > (points - 1) / 2;
    return int32_t((uint32_t(cell) * uint32_t(size - 1) + uint32_t(points - 2)) / uint32_t(points - 1));
  }

  // Voxels that a control point reaches: those of the cells on either side.
  MEDADV_HD int32_t reach_begin(int32_t point) const { return points == 1 ? 0 : begin(point - 1); }
  MEDADV_HD int32_t reach_end(int32_t point) const { return points == 1 ? size : begin(point + 1); }

  template <typename T>
  MEDADV_HD T weight(int32_t point, int32_t i) const {
    T t;
    const int32_t k = point - locate(i, t);
    return points == 1 ? T(1) : k == 0 ? 1 - t : k == 1 ? t : T(0);
  }
};

// Weights of the control points, [N, axes, rows()]: of a flow the displacements themselves.
template <typename T>
struct Motion {
  CoordinateWarp warp;
  Volume size;
  ControlGrid grid;
  const T* weights;

  MEDADV_HD int32_t rows() const {
    return warp == CoordinateWarp::none ? 0 : warp == CoordinateWarp::flow ? grid.points() : grid.rows();
  }
  MEDADV_HD const T* of(int64_t example, int32_t component) const {
    return weights + (example * grid.axes + component) * rows();
  }

  MEDADV_HD FlowAxis z() const { return {size.z, grid.z}; }
  MEDADV_HD FlowAxis y() const { return {size.y, grid.y}; }
  MEDADV_HD FlowAxis x() const { return {size.x, grid.x}; }

  // The coordinates (depth, height, width) of kCount voxels of one row, and where they move.
  template <int kCount>
  MEDADV_HD void start(int32_t iz, int32_t iy, const int32_t (&ix)[kCount], T (&at)[kCount][3]) const {
    for (int i = 0; i < kCount; ++i) {
      at[i][0] = coordinate<T>(iz, size.z);
      at[i][1] = coordinate<T>(iy, size.y);
      at[i][2] = coordinate<T>(ix[i], size.x);
    }
  }

  template <int kCount>
  MEDADV_HD void move(int64_t example, int32_t iz, int32_t iy, const int32_t (&ix)[kCount], T (&at)[kCount][3]) const {
    if (warp == CoordinateWarp::thin_plate) bend(example, at);
    if (warp == CoordinateWarp::flow)
      MEDADV_UNROLL_BY(4)
      for (int i = 0; i < kCount; ++i) flow(example, iz, iy, ix[i], at[i]);
  }

 private:
  template <int kCount>
  MEDADV_HD void bend(int64_t example, T (&at)[kCount][3]) const {
    T u[kCount], moved[kCount][3] = {};
    for (int i = 0; i < kCount; ++i) u[i] = at[i][2];
    for_each_thin_plate_row(grid, at[0][0], at[0][1], u, [&](int32_t row, const T (&values)[kCount]) {
      for (int d = 0; d < 3; ++d) {
        if (d < 3 - grid.axes) continue;
        const T weight = of(example, d - (3 - grid.axes))[row];
        for (int i = 0; i < kCount; ++i) moved[i][d] += weight * values[i];
      }
    });
    for (int i = 0; i < kCount; ++i)
      for (int d = 0; d < 3; ++d) at[i][d] += moved[i][d];
  }

  MEDADV_HD void flow(int64_t example, int32_t iz, int32_t iy, int32_t ix, T (&at)[3]) const {
    T tz, ty, tx;
    const int32_t cz = z().locate(iz, tz), cy = y().locate(iy, ty), cx = x().locate(ix, tx);
    MEDADV_UNROLL_BY(1)
    for (int32_t a = 0; a < (grid.z == 1 ? 1 : 2); ++a)
      MEDADV_UNROLL_BY(1)
      for (int32_t b = 0; b < 2; ++b) {
        const T w = (a ? tz : 1 - tz) * (b ? ty : 1 - ty);
        const int32_t row = ((cz + a) * grid.y + cy + b) * grid.x + cx;
        for (int d = 0; d < 3; ++d) {
          if (d < 3 - grid.axes) continue;
          const T* u = of(example, d - (3 - grid.axes)) + row;
          at[d] += w * ((1 - tx) * u[0] + tx * u[1]);
        }
      }
  }
};

}  // namespace medadv
