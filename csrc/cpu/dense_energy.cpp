#include "cpu/dense_energy.h"

#include <algorithm>
#include <vector>

#include "cpu/scratch.h"
#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// Rows of one channel; outside the image, the nearest one inside.
template <typename S>
struct FieldRows {
  Volume size;
  const S* u;
  const S *begin, *end;  // of all channels

  FieldRows(const Volume& volume, const S* field, int64_t channels, int64_t channel)
      : size(volume), u(field + channel * size.voxels()), begin(field), end(field + channels * size.voxels()) {}

  const S* operator()(int32_t z, int32_t y) const {
    return u + size.offset(std::clamp(z, 0, size.z - 1), std::clamp(y, 0, size.y - 1), 0);
  }

  // A row that may be read one voxel past either end. What stands there is not used; only memory has to be.
  const S* padded(int32_t z, int32_t y, std::vector<S>& copy) const {
    const S* row = (*this)(z, y);
    if (row > begin && row + size.x < end) return row;
    std::copy_n(row, size.x, copy.begin() + 1);
    return copy.data() + 1;
  }
};

// What a thread works with: copies of rows at the ends of memory, and rows of sums with room on either side.
template <typename T, typename S>
struct EnergyScratch {
  std::vector<S> here, below, front;
  Scratch<T> done, along;

  explicit EnergyScratch(int32_t width)
      : here(size_t(width) + 2), below(here), front(here), done(width), along(size_t(padded(width)) + kPack) {}
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
void add_first_order(const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                                 EnergyScratch<T, S>& scratch, T* __restrict energy) {
  const S *c = rows.padded(z, y, scratch.here), *below = rows(z, y + 1), *front = rows(z + 1, y);
  const T wz = w.axis[0], wy = w.axis[1], wx = w.axis[2];
  const int32_t last = rows.size.x - 1;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i <= last; ++i) {
    const T v = T(c[i]), right = T(c[i + 1]), dx = i < last ? right - v : T(0);
    T e = wx * penalty<kKind>(dx) + wy * penalty<kKind>(T(below[i]) - v);
    if (kDepth) e += wz * penalty<kKind>(T(front[i]) - v);
    energy[i] += e;
  }
}

template <DenseEnergy kKind, bool kDepth, typename T, typename S>
void first_order_gradient(const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                                      EnergyScratch<T, S>& scratch, S* __restrict gradient) {
  const S *c = rows.padded(z, y, scratch.here), *above = rows(z, y - 1), *below = rows(z, y + 1),
          *back = rows(z - 1, y), *front = rows(z + 1, y);
  const T wz = w.axis[0], wy = w.axis[1], wx = w.axis[2];
  const int32_t last = rows.size.x - 1;
  // `before` and `after`: differences to the neighbours along the width.
  const auto at = [=](int32_t i, T before, T after) {
    const T v = T(c[i]);
    T g = wx * (penalty_slope<kKind>(before) - penalty_slope<kKind>(after)) +
          wy * (penalty_slope<kKind>(v - T(above[i])) - penalty_slope<kKind>(T(below[i]) - v));
    if (kDepth) g += wz * (penalty_slope<kKind>(v - T(back[i])) - penalty_slope<kKind>(T(front[i]) - v));
    return S(g);
  };
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i <= last; ++i) gradient[i] = at(i, T(c[i]) - T(c[i - 1]), T(c[i + 1]) - T(c[i]));
  // The ends once more, for what they took from beyond.
  gradient[0] = at(0, T(0), last > 0 ? T(c[1]) - T(c[0]) : T(0));
  if (last > 0) gradient[last] = at(last, T(c[last]) - T(c[last - 1]), T(0));
}

// --- second differences: bending -----------------------------------------------------------------------------

// 1 where a second difference is centred on voxel i of n, else 0.
template <typename T>
T centred(int32_t i, int32_t n) {
  return T(i > 0 && i < n - 1);
}

template <bool kDepth, typename T, typename S>
void add_bending(const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                             EnergyScratch<T, S>& scratch, T* __restrict energy) {
  const S *c = rows.padded(z, y, scratch.here), *below = rows.padded(z, y + 1, scratch.below),
          *front = rows.padded(z + 1, y, scratch.front);
  const S *above = rows(z, y - 1), *back = rows(z - 1, y), *corner = rows(z + 1, y + 1);
  const T wy = w.axis[1] * centred<T>(y, rows.size.y), wz = w.axis[0] * centred<T>(z, rows.size.z);
  const T wx = w.axis[2], zy = w.zy, zx = w.zx, yx = w.yx;
  const int32_t last = rows.size.x - 1;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i <= last; ++i) {
    const T v = T(c[i]), left = T(c[i - 1]), right = T(c[i + 1]), after = right - v;
    const T down = T(below[i]) - v, down_right = T(below[i + 1]) - right;
    const T dxx = i > 0 && i < last ? after - (v - left) : T(0), dyy = down - (v - T(above[i]));
    const T dyx = i < last ? down_right - down : T(0);
    T e = wx * dxx * dxx + wy * dyy * dyy + yx * dyx * dyx;
    if (kDepth) {
      const T f = T(front[i]), forth = f - v, forth_right = T(front[i + 1]) - right;
      const T dzz = forth - (v - T(back[i])), dzy = (T(corner[i]) - f) - down;
      const T dzx = i < last ? forth_right - forth : T(0);
      e += wz * dzz * dzz + zy * dzy * dzy + zx * dzx * dzx;
    }
    energy[i] += e;
  }
}

// Two passes over the row in cache: the second one takes the differences along the width of what the first one leaves
// in `along`.
template <bool kDepth, typename T, typename S>
void bending_gradient(const FieldRows<S>& rows, const DenseWeights<T>& w, int32_t z, int32_t y,
                                  EnergyScratch<T, S>& scratch, S* __restrict gradient) {
  const S* c = rows.padded(z, y, scratch.here);
  const S *a1 = rows(z, y - 1), *a2 = rows(z, y - 2), *b1 = rows(z, y + 1), *b2 = rows(z, y + 2);
  const S *k1 = rows(z - 1, y), *k2 = rows(z - 2, y), *f1 = rows(z + 1, y), *f2 = rows(z + 2, y);
  const S *ka = rows(z - 1, y - 1), *kb = rows(z - 1, y + 1), *fa = rows(z + 1, y - 1), *fb = rows(z + 1, y + 1);
  T *done = scratch.done.data(), *along = scratch.along.data() + kPack;
  const int32_t last = rows.size.x - 1, height = rows.size.y, depth = rows.size.z;
  const T y0 = 4 * w.axis[1] * centred<T>(y, height), z0 = 4 * w.axis[0] * centred<T>(z, depth);
  const T ya = 2 * w.axis[1] * centred<T>(y - 1, height), yb = 2 * w.axis[1] * centred<T>(y + 1, height);
  const T zk = 2 * w.axis[0] * centred<T>(z - 1, depth), zf = 2 * w.axis[0] * centred<T>(z + 1, depth);
  const T wx = 2 * w.axis[2], zy = 2 * w.zy, zx = 2 * w.zx, yx = 2 * w.yx;
  // bend: the second difference along the width, where there is one.
  const auto sum = [=](int32_t i, T bend) {
    const T v = T(c[i]), a = T(a1[i]), b = T(b1[i]), down = b - v, up = v - a, turn = down - up;
    T g = ya * (up - (a - T(a2[i]))) - y0 * turn + yb * ((T(b2[i]) - b) - down);
    T s = wx * bend + yx * turn;
    if (kDepth) {
      const T k = T(k1[i]), f = T(f1[i]), forth = f - v, here = v - k;
      g += zk * (here - (k - T(k2[i]))) - z0 * (forth - here) + zf * ((T(f2[i]) - f) - forth);
      // The turn along the height in the planes around, less twice that in this one.
      g += zy * (((T(kb[i]) - k) - (k - T(ka[i]))) + ((T(fb[i]) - f) - (f - T(fa[i]))) - 2 * turn);
      s += zx * (forth - here);
    }
    done[i] = g;
    along[i] = s;
  };
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i <= last; ++i) sum(i, (T(c[i + 1]) - T(c[i])) - (T(c[i]) - T(c[i - 1])));
  // The ends once more, for what they took from beyond.
  sum(0, T(0));
  sum(last, T(0));
  along[-1] = along[0];
  along[last + 1] = along[last];
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i <= last; ++i)
    gradient[i] = S(done[i] + ((along[i - 1] - along[i]) + (along[i + 1] - along[i])));
}

// --- the rows of a block -------------------------------------------------------------------------------------

// One function per block and not per row: a row of a volume is short, and a call costs as much as half of one.
template <DenseEnergy kKind, bool kDepth, typename T, typename S>
MEDADV_SIMD void add_block(const Bands& bands, int64_t block, const S* u, int64_t channels, const DenseWeights<T>& w,
                           EnergyScratch<T, S>& scratch, T* __restrict energy) {
  bands.for_each_row(block, [&](int64_t channel, int32_t z, int32_t y) {
    const FieldRows<S> rows(bands.size, u, channels, channel);
    fetch_ahead(kDepth ? rows(z + 1, y) : rows(z, y + 1), bands.size.x);
    if constexpr (kKind == DenseEnergy::bending)
      add_bending<kDepth>(rows, w, z, y, scratch, energy);
    else
      add_first_order<kKind, kDepth>(rows, w, z, y, scratch, energy);
  });
}

template <DenseEnergy kKind, bool kDepth, typename T, typename S>
MEDADV_SIMD void write_block(const Bands& bands, int64_t block, const S* u, int64_t channels, const DenseWeights<T>& w,
                             const double* scale, EnergyScratch<T, S>& scratch, S* __restrict gradient) {
  constexpr bool kBending = kKind == DenseEnergy::bending;
  constexpr int32_t kReach = kBending ? 2 : 1;
  bands.for_each_row(block, [&](int64_t channel, int32_t z, int32_t y) {
    const FieldRows<S> rows(bands.size, u, channels, channel);
    const DenseWeights<T> v = scaled(w, T(scale[channel]));
    S* __restrict out = gradient + channel * bands.size.voxels() + bands.size.offset(z, y, 0);
    fetch_ahead(kDepth ? rows(z + kReach, y) : rows(z, y + kReach), bands.size.x);
    fetch_ahead_to_write(out, bands.size.x);
    if constexpr (kBending)
      bending_gradient<kDepth>(rows, v, z, y, scratch, out);
    else
      first_order_gradient<kKind, kDepth>(rows, v, z, y, scratch, out);
  });
}

// Calls f.operator()<kind, depth>().
template <typename F>
void with_kind(DenseEnergy kind, bool depth, const F& f) {
  const auto of = [&]<DenseEnergy kKind>() {
    depth ? f.template operator()<kKind, true>() : f.template operator()<kKind, false>();
  };
  switch (kind) {
    case DenseEnergy::membrane: return of.template operator()<DenseEnergy::membrane>();
    case DenseEnergy::total_variation: return of.template operator()<DenseEnergy::total_variation>();
    case DenseEnergy::bending: return of.template operator()<DenseEnergy::bending>();
  }
}

}  // namespace

template <typename T, typename S>
void DenseEnergySum<T, S>::run(int64_t first, int64_t last) {
  EnergyScratch<T, S> scratch(bands_.size.x);
  with_kind(kind_, bands_.size.z > 1, [&]<DenseEnergy kKind, bool kDepth>() {
    sums_.run(first, last, [&](int64_t block, T* energy) {
      add_block<kKind, kDepth>(bands_, block, u_, channels_, w_, scratch, energy);
    });
  });
}

template <typename T, typename S>
void DenseEnergySum<T, S>::gather(double* energy) const {
  for (int64_t channel = 0; channel < channels_; ++channel) energy[channel] = sums_.total(channel);
}

template <typename T, typename S>
void DenseEnergyGradient<T, S>::run(int64_t first, int64_t last) const {
  EnergyScratch<T, S> scratch(bands_.size.x);
  with_kind(kind_, bands_.size.z > 1, [&]<DenseEnergy kKind, bool kDepth>() {
    for (int64_t block = first; block < last; ++block)
      write_block<kKind, kDepth>(bands_, block, u_, channels_, w_, scale_, scratch, gradient_);
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
