// The smoothness energies of a dense field u by finite differences, voxel by voxel: the definition that every faster
// path must match. V is the volume of a voxel, h its lengths; sums run over the differences that lie in the image.
//
//   membrane:         E = V sum of  (forward difference / h)^2,         over axes and neighbours along them
//   total variation:  E = V sum of |forward difference / h|
//   bending:          E = V sum of  (second difference / h_p^2)^2       over axes p, at voxels with both neighbours,
//                       + 2 V sum of (mixed difference / (h_p h_q))^2   over pairs of axes, in every 2 x 2 square,
//
// where the second difference is u_(i+1) - 2 u_i + u_(i-1), and the mixed one u_11 - u_10 - u_01 + u_00.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/volume.h"

namespace medadv {

enum class DenseEnergy { membrane, total_variation, bending };

// Factors of the squares (or magnitudes) above, volume and lengths included.
template <typename T>
struct DenseWeights {
  T axis[3];         // depth, height, width
  T zy, zx, yx;      // of mixed differences, both orders counted
};

template <typename T>
DenseWeights<T> dense_weights(DenseEnergy energy, const double h[3]) {
  const double volume = h[0] * h[1] * h[2];
  // One square after the other: the fourth power of a length leaves float64 long before the quotient does.
  const auto over_squares = [&](int p, int q) { return volume / (h[p] * h[p]) / (h[q] * h[q]); };
  const auto mixed = [&](int p, int q) { return T(energy == DenseEnergy::bending ? 2 * over_squares(p, q) : 0); };
  DenseWeights<T> w{{}, mixed(0, 1), mixed(0, 2), mixed(1, 2)};
  for (int a = 0; a < 3; ++a)
    w.axis[a] = T(energy == DenseEnergy::total_variation ? volume / h[a]
                  : energy == DenseEnergy::membrane      ? volume / (h[a] * h[a])
                                                         : over_squares(a, a));
  return w;
}

MEDADV_HD float with_sign_of(float d) { return copysignf(1.f, d); }
MEDADV_HD double with_sign_of(double d) { return copysign(1.0, d); }

// What becomes of a forward difference, and its derivative.
template <DenseEnergy kKind, typename T>
MEDADV_HD T penalty(T d) {
  return kKind == DenseEnergy::membrane ? d * d : d < 0 ? -d : d;
}
template <DenseEnergy kKind, typename T>
MEDADV_HD T penalty_slope(T d) {
  return kKind == DenseEnergy::membrane ? 2 * d : d != 0 ? with_sign_of(d) : T(0);
}

// The energy at a voxel of the terms that start there (or are centred on it), and its derivative by the voxel's value.
template <typename T, typename S, DenseEnergy kKind>
struct DenseStencil {
  Volume size;
  DenseWeights<T> w;
  const S* u;

  MEDADV_HD T energy(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    const S* c = u + channel * size.voxels() + size.offset(z, y, x);
    const Along p{z, size.z, size.plane()}, q{y, size.y, size.x}, r{x, size.x, 1};
    if constexpr (kKind == DenseEnergy::bending) {
      const auto square = [](T d) { return d * d; };
      return w.axis[0] * square(second(c, p, 0)) + w.axis[1] * square(second(c, q, 0)) +
             w.axis[2] * square(second(c, r, 0)) + w.zy * square(mixed(c, p, q, 0, 0)) +
             w.zx * square(mixed(c, p, r, 0, 0)) + w.yx * square(mixed(c, q, r, 0, 0));
    } else {
      return w.axis[0] * penalty<kKind>(forward(c, p, 0)) + w.axis[1] * penalty<kKind>(forward(c, q, 0)) +
             w.axis[2] * penalty<kKind>(forward(c, r, 0));
    }
  }

  MEDADV_HD T gradient(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    const S* c = u + channel * size.voxels() + size.offset(z, y, x);
    const Along p{z, size.z, size.plane()}, q{y, size.y, size.x}, r{x, size.x, 1};
    if constexpr (kKind == DenseEnergy::bending)
      return 2 * (w.axis[0] * second_slope(c, p) + w.axis[1] * second_slope(c, q) + w.axis[2] * second_slope(c, r) +
                  w.zy * mixed_slope(c, p, q) + w.zx * mixed_slope(c, p, r) + w.yx * mixed_slope(c, q, r));
    else
      return w.axis[0] * first_slope(c, p) + w.axis[1] * first_slope(c, q) + w.axis[2] * first_slope(c, r);
  }

 private:
  // Position along an axis of n voxels.
  struct Along {
    int32_t i, n;
    int64_t stride;

    MEDADV_HD bool first(int k) const { return i + k >= 0 && i + k + 1 < n; }   // forward difference at i + k
    MEDADV_HD bool second(int k) const { return i + k >= 1 && i + k + 1 < n; }  // second difference at i + k
  };

  MEDADV_HD static T forward(const S* c, const Along& p, int k) {
    return p.first(k) ? T(c[(k + 1) * p.stride]) - T(c[k * p.stride]) : T(0);
  }
  MEDADV_HD static T second(const S* c, const Along& p, int k) {
    return p.second(k) ? T(c[(k + 1) * p.stride]) - 2 * T(c[k * p.stride]) + T(c[(k - 1) * p.stride]) : T(0);
  }
  MEDADV_HD static T mixed(const S* c, const Along& p, const Along& q, int k, int l) {
    return p.first(k) ? forward(c + (k + 1) * p.stride, q, l) - forward(c + k * p.stride, q, l) : T(0);
  }

  MEDADV_HD static T first_slope(const S* c, const Along& p) {
    return penalty_slope<kKind>(forward(c, p, -1)) - penalty_slope<kKind>(forward(c, p, 0));
  }
  MEDADV_HD static T second_slope(const S* c, const Along& p) {
    return second(c, p, -1) - 2 * second(c, p, 0) + second(c, p, 1);
  }
  MEDADV_HD static T mixed_slope(const S* c, const Along& p, const Along& q) {
    return mixed(c, p, q, -1, -1) - mixed(c, p, q, -1, 0) - mixed(c, p, q, 0, -1) + mixed(c, p, q, 0, 0);
  }
};

// What a kernel does at every voxel: return the energy, or write the gradient times the channel's `scale`.
template <typename T, typename S, DenseEnergy kKind>
struct DenseEnergyVoxel {
  DenseStencil<T, S, kKind> stencil;

  MEDADV_HD T operator()(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    return stencil.energy(channel, z, y, x);
  }
};

template <typename T, typename S, DenseEnergy kKind>
struct DenseGradientVoxel {
  DenseStencil<T, S, kKind> stencil;
  const double* scale;
  S* out;

  MEDADV_HD void operator()(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    out[channel * stencil.size.voxels() + stencil.size.offset(z, y, x)] =
        S(T(scale[channel]) * stencil.gradient(channel, z, y, x));
  }
};

}  // namespace medadv
