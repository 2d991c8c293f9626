#include "cpu/lattice_energy.h"

#include <algorithm>

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

std::array<std::vector<double>, 3> gram_matrices(const CellIntegrals& integral, const Axis& axis, double length) {
  std::array<std::vector<double>, 3> grams;
  for (int d = 0; d < 3; ++d) {
    grams[d].resize(size_t(kBand) * axis.knots);
    for (int o = 0; o < kBand; ++o)
      for (int k = 0; k < axis.knots; ++k)
        grams[d][size_t(o) * axis.knots + k] = gram(integral, axis, length, d, k, o - 3);
  }
  return grams;
}

// A [outer, n, inner] block of numbers, multiplied along its middle axis by a banded matrix:
// out += factor * matrix * in.
struct Banded {
  int64_t outer;
  int32_t n;
  int64_t inner;
  const double* matrix;  // [kBand, n]

  MEDADV_SIMD void add(double factor, const double* in, double* __restrict out) const {
    for (int64_t i = 0; i < outer; ++i)
      for (int32_t k = 0; k < n; ++k)
        for (int32_t o = std::max(0, 3 - k); o < std::min(kBand, n + 3 - k); ++o) {
          const double w = factor * matrix[int64_t(o) * n + k];
          const double* from = in + (i * n + k + o - 3) * inner;
          double* __restrict to = out + (i * n + k) * inner;
          for (int64_t x = 0; x < inner; ++x) to[x] += w * from[x];
        }
  }
};

}  // namespace

template <typename S>
LatticeEnergyKernel<S>::LatticeEnergyKernel(LatticeEnergy kind, const Lattice& g, const double length[3], const S* c,
                                            double* energy, S* gradient)
    : kind_(kind), g_(g), c_(c), energy_(energy), gradient_(gradient) {
  const CellIntegrals integral = cell_integrals();
  z_ = gram_matrices(integral, g.z, length[0]);
  y_ = gram_matrices(integral, g.y, length[1]);
  x_ = gram_matrices(integral, g.x, length[2]);
}

template <typename S>
void LatticeEnergyKernel<S>::run(int64_t first, int64_t last) const {
  const int64_t n = g_.knots(), row = g_.x.knots, plane = row * g_.y.knots;
  const auto along_x = [&](int d) { return Banded{n / row, g_.x.knots, 1, x_[d].data()}; };
  const auto along_y = [&](int d) { return Banded{g_.z.knots, g_.y.knots, row, y_[d].data()}; };
  const auto along_z = [&](int d) { return Banded{1, g_.z.knots, plane, z_[d].data()}; };
  std::vector<double> c(n), work(7 * n);
  double *x0 = work.data(), *x1 = x0 + n, *x2 = x1 + n, *z0 = x2 + n, *z1 = z0 + n, *z2 = z1 + n, *h = z2 + n;
  for (int64_t channel = first; channel < last; ++channel) {
    std::copy_n(c_ + channel * n, n, c.begin());
    std::fill(work.begin(), work.end(), 0.0);
    along_x(0).add(1, c.data(), x0);
    along_x(1).add(1, c.data(), x1);
    if (kind_ == LatticeEnergy::bending) {
      along_x(2).add(1, c.data(), x2);
      along_y(2).add(1, x0, z0);  // what the depth's derivative 0 multiplies
      along_y(1).add(2, x1, z0);
      along_y(0).add(1, x2, z0);
      along_y(1).add(2, x0, z1);  // derivative 1
      along_y(0).add(2, x1, z1);
      along_y(0).add(1, x0, z2);  // derivative 2
      along_z(2).add(2, z2, h);
    } else {
      along_y(1).add(1, x0, z0);
      along_y(0).add(1, x1, z0);
      along_y(0).add(1, x0, z1);
    }
    along_z(0).add(2, z0, h);
    along_z(1).add(2, z1, h);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      sum += c[i] * h[i];
      gradient_[channel * n + i] = S(h[i]);
    }
    energy_[channel] = sum / 2;
  }
}

template class LatticeEnergyKernel<float>;
template class LatticeEnergyKernel<double>;
template class LatticeEnergyKernel<Half>;
template class LatticeEnergyKernel<BFloat16>;

}  // namespace medadv::cpu
