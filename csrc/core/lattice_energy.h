// The smoothness energies of a B-spline field, integrated exactly over the image domain:
//
//   membrane:  E = integral of  sum over axes p of (dB / dp)^2,
//   bending:   E = integral of  sum over axes p, q of (d2 B / dp dq)^2.
//
// B is a product of one-axis splines, so E = 1/2 c^T H c with H a sum of Kronecker products of the banded
// Gram matrices of the basis and its first two derivatives; H c is the gradient. All of it in float64: the
// energy of a smooth lattice is a small difference of large numbers.
#pragma once

#include "core/bspline.h"

namespace medadv {

enum class LatticeEnergy { membrane, bending };

inline constexpr int kBand = 7;  // a control point shares cells with three neighbours on either side

// Integrals over one cell of unit length of w_i^(d) w_j^(d), for derivative d.
struct CellIntegrals {
  double value[3][4][4];
};

inline CellIntegrals cell_integrals() {
  // Gauss-Legendre with four nodes: exact up to degree 7; the integrands have degree 6.
  const double node[2] = {0.3399810435848563, 0.8611363115940526};
  const double weight[2] = {0.6521451548625461, 0.3478548451374539};
  CellIntegrals integral{};
  for (int q = 0; q < 4; ++q) {
    const double t = (1 + (q % 2 ? -1 : 1) * node[q / 2]) / 2, s = 1 - t;
    const double w[3][4] = {
        {s * s * s / 6, (4 - 3 * t * t * (2 - t)) / 6, (4 - 3 * s * s * (2 - s)) / 6, t * t * t / 6},
        {-s * s / 2, t * (3 * t - 4) / 2, s * (4 - 3 * s) / 2, t * t / 2},
        {s, 3 * t - 2, 3 * s - 2, t}};
    for (int d = 0; d < 3; ++d)
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) integral.value[d][i][j] += weight[q / 2] / 2 * w[d][i] * w[d][j];
  }
  return integral;
}

// Entry (knot, knot + offset) of the Gram matrix of derivative d, for cells of the given length.
// An axis that is not there has the matrix 1 and no derivatives.
MEDADV_HD double gram(const CellIntegrals& integral, const Axis& axis, double length, int d, int knot, int offset) {
  if (axis.absent()) return d == 0 && offset == 0 ? 1 : 0;
  double sum = 0;
  for (int i = 0; i < 4; ++i) {  // control point `knot` is the i-th of cell knot - i
    const int cell = knot - i, j = i + offset;
    if (cell >= 0 && cell < axis.cells() && j >= 0 && j < 4) sum += integral.value[d][i][j];
  }
  return d == 0 ? sum * length : d == 1 ? sum / length : sum / (length * length * length);
}

// Products of depth and height entries that go with the width's derivative 0, 1 and 2.
struct LatticeWeights {
  double x0, x1, x2;

  MEDADV_HD LatticeWeights(LatticeEnergy energy, const double z[3], const double y[3]) {
    const bool bending = energy == LatticeEnergy::bending;
    const double plane = z[0] * y[0], slope = z[1] * y[0] + z[0] * y[1];
    x0 = 2 * (bending ? z[2] * y[0] + z[0] * y[2] + 2 * z[1] * y[1] : slope);
    x1 = bending ? 4 * slope : 2 * plane;
    x2 = bending ? 2 * plane : 0;
  }
};

// One entry of H c. `c` is one channel of the lattice; length: of a cell along depth, height, width.
template <typename S>
struct LatticeGradient {
  LatticeEnergy energy;
  CellIntegrals integral;
  Lattice g;
  double length[3];
  const S* c;

  MEDADV_HD LatticeWeights weights(int kz, int ky, int a, int b) const {
    double z[3], y[3];
    for (int d = 0; d < 3; ++d) {
      z[d] = gram(integral, g.z, length[0], d, kz, a);
      y[d] = gram(integral, g.y, length[1], d, ky, b);
    }
    return {energy, z, y};
  }

  MEDADV_HD double along_x(int d, int kx, int offset) const { return gram(integral, g.x, length[2], d, kx, offset); }

  MEDADV_HD double operator()(int64_t channel, int kz, int ky, int kx) const {
    double sum = 0;
    for (int a = -3; a <= 3; ++a)
      for (int b = -3; b <= 3; ++b) {
        if (kz + a < 0 || kz + a >= g.z.knots || ky + b < 0 || ky + b >= g.y.knots) continue;
        const LatticeWeights w = weights(kz, ky, a, b);
        const S* row = c + channel * g.knots() + (int64_t(kz + a) * g.y.knots + ky + b) * g.x.knots;
        for (int o = -3; o <= 3; ++o) {
          if (kx + o < 0 || kx + o >= g.x.knots) continue;
          sum += (w.x0 * along_x(0, kx, o) + w.x1 * along_x(1, kx, o) + w.x2 * along_x(2, kx, o)) * double(row[kx + o]);
        }
      }
    return sum;
  }
};

}  // namespace medadv
