// The bias field y = x exp(B(T(p))), B a polynomial (core/polynomial.h) and T a motion of the coordinates p
// (core/coordinates.h), voxel by voxel: the definition that every faster path must match.
#pragma once

#include "core/bias_field.h"
#include "core/coordinates.h"
#include "core/polynomial.h"

namespace medadv {

// Images [examples, channels, z, y, x]; coefficients [examples, sets, terms], sets being 1 or the channels.
template <typename T>
struct PolynomialBias {
  PolynomialShape shape;
  Recurrence<T> recurrence;
  Motion<T> motion;
  int64_t examples, channels, sets;

  MEDADV_HD const Volume& size() const { return motion.size; }
  MEDADV_HD int64_t per_set() const { return sets == 1 ? channels : 1; }

  // Channels [first_channel, first_channel + per_set()) of all images share one set of coefficients.
  MEDADV_HD int64_t first_channel(int64_t example, int64_t set) const { return example * channels + set * per_set(); }
};

// Calls voxel(at, field) for the channels of a set at one voxel; a: coefficients [examples * sets, terms] of the monic
// terms.
template <typename T, typename Voxel>
struct PolynomialField {
  PolynomialBias<T> bias;
  const T* a;
  Voxel voxel;

  MEDADV_HD void operator()(int64_t set_of_all, int32_t z, int32_t y, int32_t x) const {
    const int64_t example = set_of_all / bias.sets, set = set_of_all % bias.sets;
    T at[1][3], field[1];
    const int32_t voxels_x[1] = {x};
    bias.motion.start(z, y, voxels_x, at);
    bias.motion.move(example, z, y, voxels_x, at);
    polynomial_values(bias.shape, bias.recurrence, a + set_of_all * bias.shape.terms(), at, field);
    const int64_t voxels = bias.size().voxels(), first = bias.first_channel(example, set);
    for (int64_t channel = first; channel < first + bias.per_set(); ++channel)
      voxel(channel * voxels + bias.size().offset(z, y, x), field[0]);
  }
};

// Adds what the force on the field at one voxel gives to the coefficients (of the basis' own terms) and to the weights
// of the motion.
template <typename T, typename Force>
struct PolynomialForce {
  PolynomialBias<T> bias;
  const T* a;
  Force force;
  T *grad_coefficients, *grad_weights;

  MEDADV_HD void operator()(int64_t set_of_all, int32_t z, int32_t y, int32_t x) const {
    const int64_t example = set_of_all / bias.sets, set = set_of_all % bias.sets;
    const int64_t voxels = bias.size().voxels(), first = bias.first_channel(example, set);
    const int32_t voxels_x[1] = {x};
    T f = 0, at[1][3], slopes[3];
    for (int64_t channel = first; channel < first + bias.per_set(); ++channel)
      f += force(channel * voxels + bias.size().offset(z, y, x));
    bias.motion.start(z, y, voxels_x, at);
    const T from[3] = {at[0][0], at[0][1], at[0][2]};
    bias.motion.move(example, z, y, voxels_x, at);
    add_to_coefficients(set_of_all, f, at[0]);
    polynomial_slopes(bias.shape, bias.recurrence, a + set_of_all * bias.shape.terms(), at[0], slopes);
    const Motion<T>& motion = bias.motion;
    const ControlGrid& grid = motion.grid;
    for (int32_t row = 0; row < motion.rows(); ++row) {
      T value;
      if (motion.warp == CoordinateWarp::thin_plate) {
        value = thin_plate_row(grid, row, from);
      } else {
        const int32_t line = row / grid.x;
        value = motion.z().template weight<T>(line / grid.y, z) * motion.y().template weight<T>(line % grid.y, y) *
                motion.x().template weight<T>(row % grid.x, x);
      }
      for (int32_t d = 0; d < grid.axes; ++d)
        grad_weights[(example * grid.axes + d) * motion.rows() + row] += f * slopes[d + 3 - grid.axes] * value;
    }
  }

 private:
  MEDADV_HD void add_to_coefficients(int64_t set_of_all, T f, const T (&at)[3]) const {
    const Recurrence<T>& r = bias.recurrence;
    for (int32_t m = 0; m < bias.shape.terms(); ++m) {
      const Powers p = bias.shape.powers(m);
      grad_coefficients[set_of_all * bias.shape.terms() + m] +=
          f * r.term_scale(p) * monic_power(r, at[0], p.s) * monic_power(r, at[1], p.t) * monic_power(r, at[2], p.l);
    }
  }
};

}  // namespace medadv
