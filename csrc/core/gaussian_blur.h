// The Gaussian blur along one axis, and its adjoint, voxel by voxel: the definition that every faster path must
// match.
//
// y_i = sum over k in [-r, r] of w_k x_(i + k), with w_k = exp(-k^2 / (2 sigma^2)) normalised to the sum 1 and
// r = ceil(truncate sigma). Positions outside the image are filled by the padding, however far away they are.
#pragma once

#include <cmath>

#include "core/volume.h"

namespace medadv {

// What stands outside the image. With d c b a | a b c d of scipy called "reflect" and d c b | a b c d "mirror":
enum class BlurPadding : int32_t {
  reflect = 0,  // about the centre of the last voxel: scipy's "mirror"
  border = 1,   // the last voxel again: scipy's "nearest"
  zeros = 2     // scipy's "constant"
};

// The voxel that stands at position i of an axis of n voxels, or -1 where there is none.
MEDADV_HD int32_t voxel_at(BlurPadding padding, int32_t n, int32_t i) {
  if (i >= 0 && i < n) return i;
  if (padding == BlurPadding::zeros) return -1;
  if (padding == BlurPadding::border || n == 1) return i < 0 ? 0 : n - 1;
  const int32_t period = 2 * (n - 1), folded = (i < 0 ? -i : i) % period;
  return folded < n ? folded : period - folded;
}

// Calls f(e) for every position e in [-radius, n - 1 + radius] at which voxel i stands.
template <typename F>
MEDADV_HD void for_each_position(BlurPadding padding, int32_t n, int32_t radius, int32_t i, F f) {
  if (padding == BlurPadding::reflect && n > 1) {
    const int32_t period = 2 * (n - 1), last = n - 1 + radius;
    for (int32_t e = i - (i + radius) / period * period; e <= last; e += period) f(e);
    if (i == 0 || i == n - 1) return;  // its own mirror image
    for (int32_t e = i <= radius ? -i - (radius - i) / period * period : period - i; e <= last; e += period) f(e);
    return;
  }
  const bool spreads = padding != BlurPadding::zeros;
  const int32_t first = spreads && i == 0 ? -radius : i, last = spreads && i == n - 1 ? n - 1 + radius : i;
  for (int32_t e = first; e <= last; ++e) f(e);
}

inline constexpr int32_t kBlurTable = 128;  // weights that are tabulated; farther ones are computed where they are used

template <typename T>
struct GaussianKernel {
  int32_t radius;
  double sigma, norm;
  T table[kBlurTable];

  MEDADV_HD double exact(int32_t k) const { return norm * exp(-(k / sigma) * (k / sigma) / 2); }
  MEDADV_HD T operator()(int32_t k) const {
    const int32_t distance = k < 0 ? -k : k;
    return distance < kBlurTable ? table[distance] : T(exact(distance));
  }
};

// sigma > 0.
template <typename T>
GaussianKernel<T> gaussian_kernel(double sigma, double truncate) {
  GaussianKernel<T> kernel{int32_t(std::ceil(truncate * sigma)), sigma, 1, {}};
  double sum = kernel.exact(0);
  for (int32_t k = 1; k <= kernel.radius; ++k) sum += 2 * kernel.exact(k);
  kernel.norm = 1 / sum;
  for (int32_t k = 0; k < kBlurTable; ++k) kernel.table[k] = T(kernel.exact(k));
  return kernel;
}

// One voxel, blurred along one axis: 0 depth, 1 height, 2 width.
template <typename T, typename In, typename Out>
struct BlurVoxel {
  GaussianKernel<T> kernel;
  BlurPadding padding;
  bool adjoint;
  int32_t axis;
  Volume size;
  const In* in;
  Out* out;

  MEDADV_HD void operator()(int64_t channel, int32_t z, int32_t y, int32_t x) const {
    const int64_t at = channel * size.voxels() + size.offset(z, y, x);
    const int32_t i = axis == 0 ? z : axis == 1 ? y : x, n = axis == 0 ? size.z : axis == 1 ? size.y : size.x;
    const int64_t stride = axis == 0 ? size.plane() : axis == 1 ? size.x : 1;
    const In* line = in + at - i * stride;
    out[at] = Out(adjoint ? gather(line, stride, n, i) : blur(line, stride, n, i));
  }

 private:
  MEDADV_HD T blur(const In* line, int64_t stride, int32_t n, int32_t i) const {
    T sum = 0;
    for (int32_t k = -kernel.radius; k <= kernel.radius; ++k) {
      const int32_t from = voxel_at(padding, n, i + k);
      if (from >= 0) sum += kernel(k) * T(line[from * stride]);
    }
    return sum;
  }

  MEDADV_HD T gather(const In* line, int64_t stride, int32_t n, int32_t i) const {
    T sum = 0;
    for_each_position(padding, n, kernel.radius, i, [&](int32_t e) {
      const int32_t first = e - kernel.radius, last = e + kernel.radius;
      for (int32_t j = first > 0 ? first : 0; j <= (last < n ? last : n - 1); ++j)
        sum += kernel(e - j) * T(line[j * stride]);
    });
    return sum;
  }
};

}  // namespace medadv
