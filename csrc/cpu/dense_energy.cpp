#include "cpu/dense_energy.h"

#include <algorithm>
#include <vector>

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// Rows of one channel; outside the image, the nearest one inside.
template <typename S>
struct FieldRows {
  Volume size;
  const S* u;

  const S* operator()(int32_t z, int32_t y) const {
    return u + size.offset(std::clamp(z, 0, size.z - 1), std::clamp(y, 0, size.y - 1), 0);
  }
};

// Weights of the gradient of one channel.
template <typename T>
DenseWeights<T> scaled(DenseWeights<T> w, T scale) {
  for (T* weight : {&w.axis[0], &w.axis[1], &w.axis[2], &w.zy, &w.zx, &w.yx}) *weight *= scale;
  return w;
}

// --- first differences: membrane and total variation ---------------------------------------------------------

// Adds the energies of a row, column by column.
template <DenseEnergy kKind, bool kDepth, typename T, typename S>
MEDADV_SIMD void add_first_order(const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                                 T* __restrict energy) {
  const S *c = rows(z, y), *below = rows(z, y + 1), *front = rows(z + 1, y);
  const T wz = w.axis[0], wy = w.axis[1], wx = w.axis[2];
  const int32_t n = rows.size.x;
  const auto across = [=](int32_t i) {
    const T e = wy * penalty<kKind>(T(below[i]) - T(c[i]));
    return kDepth ? e + wz * penalty<kKind>(T(front[i]) - T(c[i])) : e;
  };
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n - 1; ++i) energy[i] += across(i) + wx * penalty<kKind>(T(c[i + 1]) - T(c[i]));
  energy[n - 1] += across(n - 1);
}

template <DenseEnergy kKind, bool kDepth, typename T, typename S>
MEDADV_SIMD void first_order_gradient(const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                                      S* __restrict gradient) {
  const S *c = rows(z, y), *above = rows(z, y - 1), *below = rows(z, y + 1), *back = rows(z - 1, y),
          *front = rows(z + 1, y);
  const T wz = w.axis[0], wy = w.axis[1], wx = w.axis[2];
  const int32_t n = rows.size.x;
  const auto voxel = [=](int32_t i, int32_t left, int32_t right) {
    const T v = T(c[i]);
    T g = wx * (penalty_slope<kKind>(v - T(c[left])) - penalty_slope<kKind>(T(c[right]) - v)) +
          wy * (penalty_slope<kKind>(v - T(above[i])) - penalty_slope<kKind>(T(below[i]) - v));
    if (kDepth) g += wz * (penalty_slope<kKind>(v - T(back[i])) - penalty_slope<kKind>(T(front[i]) - v));
    gradient[i] = S(g);
  };
  voxel(0, 0, std::min(1, n - 1));
  MEDADV_INDEPENDENT
  for (int32_t i = 1; i < n - 1; ++i) voxel(i, i - 1, i + 1);
  if (n > 1) voxel(n - 1, n - 2, n - 1);
}

// --- second differences: bending -----------------------------------------------------------------------------

// Rows of scratch with room for one column on either side.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int32_t width) : stride_(padded(width) + kPack), memory_(size_t(4) * stride_) {}
  T* row(int n) { return memory_.data() + size_t(n) * stride_ + kPack; }

 private:
  int32_t stride_;
  std::vector<T> memory_;
};

// 1 where a second difference is centred on voxel i of n, else 0.
template <typename T>
T centred(int32_t i, int32_t n) {
  return T(i > 0 && i < n - 1);
}

// Two passes over the row in cache: what needs no neighbour along the width, then what does.
template <bool kDepth, typename T, typename S>
MEDADV_SIMD void add_bending(const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                             Scratch<T>& scratch, T* __restrict energy) {
  const S *c = rows(z, y), *above = rows(z, y - 1), *below = rows(z, y + 1), *back = rows(z - 1, y),
          *front = rows(z + 1, y), *corner = rows(z + 1, y + 1);
  T* __restrict dy = scratch.row(0);
  T* __restrict dz = scratch.row(1);
  const int32_t n = rows.size.x;
  const T wy = w.axis[1] * centred<T>(y, rows.size.y), wz = w.axis[0] * centred<T>(z, rows.size.z);
  const T wx = w.axis[2], zy = w.zy, zx = w.zx, yx = w.yx;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const T v = T(c[i]), b = T(below[i]), down = b - v, dyy = down - (v - T(above[i]));
    T e = wy * dyy * dyy;
    dy[i] = down;
    if (kDepth) {
      const T f = T(front[i]), forth = f - v, dzz = forth - (v - T(back[i])), square = (T(corner[i]) - f) - down;
      e += wz * dzz * dzz + zy * square * square;
      dz[i] = forth;
    }
    energy[i] += e;
  }
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n - 1; ++i) {
    const T along_y = dy[i + 1] - dy[i], along_z = kDepth ? dz[i + 1] - dz[i] : T(0);
    energy[i] += yx * along_y * along_y + (kDepth ? zx * along_z * along_z : T(0));
  }
  MEDADV_INDEPENDENT
  for (int32_t i = 1; i < n - 1; ++i) {
    const T dxx = (T(c[i + 1]) - T(c[i])) - (T(c[i]) - T(c[i - 1]));
    energy[i] += wx * dxx * dxx;
  }
}

template <bool kDepth, typename T, typename S>
MEDADV_SIMD void bending_gradient(const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                                  Scratch<T>& scratch, S* __restrict gradient) {
  const S *c = rows(z, y), *a1 = rows(z, y - 1), *a2 = rows(z, y - 2), *b1 = rows(z, y + 1), *b2 = rows(z, y + 2);
  const S *k1 = rows(z - 1, y), *k2 = rows(z - 2, y), *f1 = rows(z + 1, y), *f2 = rows(z + 2, y);
  const S *ka = rows(z - 1, y - 1), *kb = rows(z - 1, y + 1), *fa = rows(z + 1, y - 1), *fb = rows(z + 1, y + 1);
  T *field = scratch.row(0), *done = scratch.row(1), *mixed = scratch.row(2), *dxx = scratch.row(3);
  const int32_t n = rows.size.x, height = rows.size.y, depth = rows.size.z;
  const T y0 = 4 * w.axis[1] * centred<T>(y, height), z0 = 4 * w.axis[0] * centred<T>(z, depth);
  const T ya = 2 * w.axis[1] * centred<T>(y - 1, height), yb = 2 * w.axis[1] * centred<T>(y + 1, height);
  const T zk = 2 * w.axis[0] * centred<T>(z - 1, depth), zf = 2 * w.axis[0] * centred<T>(z + 1, depth);
  const T wx = 2 * w.axis[2], zy = 2 * w.zy, zx = 2 * w.zx, yx = 2 * w.yx;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const T v = T(c[i]), a = T(a1[i]), b = T(b1[i]), down = b - v, up = v - a;
    T g = ya * (v - 2 * a + T(a2[i])) - y0 * (down - up) + yb * (T(b2[i]) - 2 * b + v);
    T m = yx * (up - down);
    if (kDepth) {
      const T k = T(k1[i]), f = T(f1[i]), forth = f - v, here = v - k;
      g += zk * (v - 2 * k + T(k2[i])) - z0 * (forth - here) + zf * (T(f2[i]) - 2 * f + v);
      // Of the up and down in this plane twice, less those in the planes around it.
      g += zy * (2 * (up - down) - ((k - T(ka[i])) - (T(kb[i]) - k)) - ((f - T(fa[i])) - (T(fb[i]) - f)));
      m += zx * (here - forth);
    }
    field[i] = v;
    done[i] = g;
    mixed[i] = m;
  }
  // Past an end: the last value again for what is differenced once, zero for the second difference.
  mixed[-1] = mixed[0];
  mixed[n] = mixed[n - 1];
  dxx[-1] = dxx[0] = dxx[n - 1] = dxx[n] = 0;
  MEDADV_INDEPENDENT
  for (int32_t i = 1; i < n - 1; ++i) dxx[i] = field[i + 1] - 2 * field[i] + field[i - 1];
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i)
    gradient[i] = S(done[i] + (2 * mixed[i] - mixed[i - 1] - mixed[i + 1]) +
                    wx * (dxx[i - 1] - 2 * dxx[i] + dxx[i + 1]));
}

// --- a row, by kind ------------------------------------------------------------------------------------------

template <bool kDepth, typename T, typename S>
void add_energy(DenseEnergy kind, const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                Scratch<T>& scratch, T* energy) {
  switch (kind) {
    case DenseEnergy::membrane: return add_first_order<DenseEnergy::membrane, kDepth>(rows, w, z, y, energy);
    case DenseEnergy::total_variation:
      return add_first_order<DenseEnergy::total_variation, kDepth>(rows, w, z, y, energy);
    case DenseEnergy::bending: return add_bending<kDepth>(rows, w, z, y, scratch, energy);
  }
}

template <bool kDepth, typename T, typename S>
void write_gradient(DenseEnergy kind, const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                    Scratch<T>& scratch, S* gradient) {
  switch (kind) {
    case DenseEnergy::membrane: return first_order_gradient<DenseEnergy::membrane, kDepth>(rows, w, z, y, gradient);
    case DenseEnergy::total_variation:
      return first_order_gradient<DenseEnergy::total_variation, kDepth>(rows, w, z, y, gradient);
    case DenseEnergy::bending: return bending_gradient<kDepth>(rows, w, z, y, scratch, gradient);
  }
}

}  // namespace

template <typename T, typename S>
void DenseEnergySum<T, S>::run(int64_t first, int64_t last) {
  const Volume& size = bands_.size;
  const auto add = size.z > 1 ? &add_energy<true, T, S> : &add_energy<false, T, S>;
  Scratch<T> scratch(size.x);
  sums_.run(first, last, [&](int64_t channel, int32_t z, int32_t y, T* energy) {
    add(kind_, FieldRows<S>{size, u_ + channel * size.voxels()}, w_, z, y, scratch, energy);
  });
}

template <typename T, typename S>
void DenseEnergySum<T, S>::gather(int64_t channels, double* energy) const {
  for (int64_t channel = 0; channel < channels; ++channel) energy[channel] = sums_.total(channel);
}

template <typename T, typename S>
void DenseEnergyGradient<T, S>::run(int64_t first, int64_t last) const {
  const Volume& size = bands_.size;
  const auto write = size.z > 1 ? &write_gradient<true, T, S> : &write_gradient<false, T, S>;
  Scratch<T> scratch(size.x);
  for (int64_t block = first; block < last; ++block)
    bands_.for_each_row(block, [&](int64_t channel, int32_t z, int32_t y) {
      const int64_t start = channel * size.voxels();
      write(kind_, FieldRows<S>{size, u_ + start}, scaled(w_, T(scale_[channel])), z, y, scratch,
            gradient_ + start + size.offset(z, y, 0));
    });
}

#define MEDADV_INSTANTIATE(T, S)       \
  template class DenseEnergySum<T, S>;  \
  template class DenseEnergyGradient<T, S>;
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)

}  // namespace medadv::cpu
