#include "cpu/warp_rows.h"

#include <algorithm>
#include <type_traits>

#include "cpu/locate_packs.h"
#include "cpu/spline_rows.h"
#include "cpu/storage.h"
#include "cpu/tap_gather.h"

namespace medadv::cpu {
namespace {

// The first taps of a row's voxels, and where between its taps each lands.
template <typename T, Interpolation kind, int kAxes>
MEDADV_SIMD void locate_row(WarpRow<T>& row) {
  constexpr int32_t before = kind == Interpolation::cubic ? 1 : 0;
  const Sampling s = row.s;
  const T *dz = row.d[0], *dy = row.d[1], *dx = row.d[2];
  T *tz = row.part.data(), *ty = tz + row.stride, *tx = ty + row.stride;
  int32_t* first = row.first.data();
  const int32_t z = row.z - before, y = row.y - before;
  // Unsigned: what lies before the image is far behind it, and offsets of what lies outside may wrap around.
  const uint32_t in_z = places<kind>(s.z), in_y = places<kind>(s.y), in_x = places<kind>(s.x);
  int32_t furthest = 0;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < s.x; ++i) {
    const Split<T> y_split(dy[i]), x_split(dx[i]);
    uint32_t iz = 0;
    bool inside = true;
    if constexpr (kAxes == 3) {
      const Split<T> z_split(dz[i]);
      tz[i] = z_split.part;
      iz = uint32_t(z + z_split.whole);
      if constexpr (kind == Interpolation::nearest) iz = uint32_t(nearest_voxel(z, z_split));
      inside = iz < in_z;
    }
    uint32_t iy = uint32_t(y + y_split.whole), ix = uint32_t(i - before + x_split.whole);
    if constexpr (kind == Interpolation::nearest) {
      iy = uint32_t(nearest_voxel(y, y_split));
      ix = uint32_t(nearest_voxel(i, x_split));
    }
    inside = inside & (iy < in_y) & (ix < in_x);
    ty[i] = y_split.part;
    tx[i] = x_split.part;
    first[i] = inside ? int32_t((iz * uint32_t(s.y) + iy) * uint32_t(s.x) + ix) : -1;
    furthest = std::max(furthest, first[i]);
  }
  row.furthest = furthest;
}

// The voxels whose taps do not all lie in the image: few, so most packs are passed over.
template <typename T>
MEDADV_SIMD void list_border(WarpRow<T>& row) {
  const int32_t* first = row.first.data();
  int32_t *border = row.border.data(), count = 0;
  for (int32_t i = 0; i < row.s.x; i += kGatherPack) {
    int32_t any = 0;
    for (int32_t k = 0; k < kGatherPack; ++k) any |= first[i + k];
    if (any >= 0) [[likely]] continue;
    for (int32_t k = i; k < std::min(i + kGatherPack, row.s.x); ++k) {
      border[count] = k;
      count += first[k] < 0;
    }
  }
  row.borders = count;
}

// Replaces every -1 that the padding fills by the voxel that stands there; of nearest interpolation.
template <typename T, int kAxes>
void pad_row(WarpRow<T>& row) {
  if (row.s.padding == Padding::zeros) return;
  for (int32_t i = 0; i < row.s.x; ++i)
    if (row.first[i] < 0)
      row.template taps_of<Interpolation::nearest, kAxes>(i).each(
          row.s, [&](int64_t at, int, int, int) { row.first[i] = int32_t(at); });
}

// Whichever is fastest here.
template <typename T, Interpolation kind, int kAxes>
void locate_here(WarpRow<T>& row) {
#if MEDADV_CLONES
  if constexpr (std::is_same_v<T, float> && kind != Interpolation::nearest)
    if (has_avx512()) return locate_packs<kind, kAxes>(row);
#endif
  locate_row<T, kind, kAxes>(row);
  kind == Interpolation::nearest ? pad_row<T, kAxes>(row) : list_border(row);
}

// Asks for a row of the image a little further than this row of voxels reaches, as the next ones will: one line of
// memory after the other, which is what arrives fastest. A displaced row crosses the image's rows in pieces too short
// for the hardware to guess that. last: of the last tap from the first.
constexpr int32_t kRowsAhead = 8;

template <typename T, typename S>
void prefetch(const WarpRow<T>& row, const S* image, int64_t last) {
  const S* ahead = image + row.furthest / row.s.x * row.s.x + last + int64_t(kRowsAhead) * row.s.x;
  for (int32_t i = 0; i < row.s.x; i += 64 / int32_t(sizeof(S))) __builtin_prefetch(ahead + i);
}

// --- nearest ---------------------------------------------------------------------------------------------

template <typename T, typename S>
void copy_row(const WarpRow<T>& row, const S* image, S* __restrict out) {
  const int32_t* first = row.first.data();
  const int32_t n = row.s.x;
  prefetch(row, image, 0);
  for (int32_t i = 0; i < n; ++i) out[i] = first[i] < 0 ? S(0) : image[first[i]];
}

// --- linear ----------------------------------------------------------------------------------------------
// Taps lie in planes [2^axes, stride]: plane 4 a + 2 b + c (in 2D 2 b + c) is tap a of the depth, b of the height and
// c of the width.

template <int kAxes, typename S>
TapLines<S, 1 << (kAxes - 1), 2> linear_lines(const Sampling& s, const S* image) {
  TapLines<S, 1 << (kAxes - 1), 2> lines{image, s.voxels(), {}};
  for (int r = 0; r < 1 << (kAxes - 1); ++r) lines.line[r] = int32_t((r >> 1) * s.plane()) + (r & 1) * s.x;
  return lines;
}

template <typename T, typename S, int kAxes>
void fetch_linear(WarpRow<T>& row, const S* image) {
  const auto lines = linear_lines<kAxes>(row.s, image);
  prefetch(row, image, lines.line[(1 << (kAxes - 1)) - 1]);
  gather_taps(lines, row.first.data(), row.s.x, row.taps.data(), row.stride);
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void blend_linear(const WarpRow<T>& row, S* __restrict out) {
  const int32_t n = row.s.x, stride = row.stride;
  const T *tz = row.part.data(), *ty = tz + stride, *tx = ty + stride, *taps = row.taps.data();
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const auto along_x = [&](int r) {
      const T left = taps[2 * r * stride + i], right = taps[(2 * r + 1) * stride + i];
      return left + tx[i] * (right - left);
    };
    const T near0 = along_x(0), near1 = along_x(1);
    T value = near0 + ty[i] * (near1 - near0);
    if constexpr (kAxes == 3) {
      const T far0 = along_x(2), far1 = along_x(3);
      value += tz[i] * (far0 + ty[i] * (far1 - far0) - value);
    }
    out[i] = S(value);
  }
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void add_linear_slopes(const WarpRow<T>& row, const S* grad, T* const* force) {
  const int32_t n = row.s.x, stride = row.stride;
  const T *tz = row.part.data(), *ty = tz + stride, *tx = ty + stride, *taps = row.taps.data();
  T *fz = force[0], *fy = force[kAxes - 2], *fx = force[kAxes - 1];
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const T g = T(grad[i]), t = tx[i], u = ty[i];
    const auto left = [&](int r) { return taps[2 * r * stride + i]; };
    const auto step = [&](int r) { return taps[(2 * r + 1) * stride + i] - left(r); };
    const T s0 = step(0), s1 = step(1);
    const T v0 = left(0) + t * s0, v1 = left(1) + t * s1;
    T slope_x = s0 + u * (s1 - s0), slope_y = v1 - v0;
    if constexpr (kAxes == 3) {
      const T w = tz[i], s2 = step(2), s3 = step(3);
      const T v2 = left(2) + t * s2, v3 = left(3) + t * s3;
      slope_x += w * (s2 + u * (s3 - s2) - slope_x);
      fz[i] += g * ((v2 + u * (v3 - v2)) - (v0 + u * slope_y));
      slope_y += w * ((v3 - v2) - slope_y);
    }
    // 0 times the parts: a NaN displacement shows in every slope, as it does in the value.
    const T undefined = T(0) * (t + u + (kAxes == 3 ? tz[i] : T(0)));
    fy[i] += g * (slope_y + undefined);
    fx[i] += g * (slope_x + undefined);
  }
}

// Pair r of a voxel's shares is that of its taps r / 2, r % 2 of the slower axes.
template <int kAxes>
struct PairOffsets {
  int32_t of[1 << (kAxes - 1)];  // of every pair from the first tap

  explicit PairOffsets(const Sampling& s) {
    for (int r = 0; r < 1 << (kAxes - 1); ++r) of[r] = int32_t((r >> 1) * s.plane()) + (r & 1) * s.x;
  }
};

// The shares of a row's gradients that go to the taps.
template <typename T, typename S, int kAxes>
MEDADV_SIMD void share_pairs(WarpRow<T>& row, const S* grad) {
  const int32_t n = row.s.x, stride = 2 * row.stride;
  const T *tz = row.part.data(), *ty = tz + row.stride, *tx = ty + row.stride;
  T *p0 = row.taps.data(), *p1 = p0 + stride, *p2 = p1 + stride, *p3 = p2 + stride;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const auto split = [&](T share, T* p, T* q) {
      const T second = share * ty[i], left = share - second;
      p[2 * i + 1] = left * tx[i];
      p[2 * i] = left - left * tx[i];
      q[2 * i + 1] = second * tx[i];
      q[2 * i] = second - second * tx[i];
    };
    const T g = T(grad[i]);
    if constexpr (kAxes == 3) {
      const T far = g * tz[i];
      split(g - far, p0, p1);
      split(far, p2, p3);
    } else {
      split(g, p0, p1);
    }
  }
}

// Voxels whose taps, up to `last` from the first one, are all in a slab.
class Landing {
 public:
  Landing(const Slab& slab, int64_t last)
      : begin_(uint32_t(slab.begin)), places_(uint32_t(std::max<int64_t>(0, slab.end - slab.begin - last))) {}

  bool whole(int32_t first) const { return uint32_t(first) - begin_ < places_; }

 private:
  uint32_t begin_, places_;
};

// Even voxels before odd ones: the pairs of neighbours overlap, and a load just after a store that covers half of
// it waits for the cache.
template <typename T, int kAxes>
void scatter_pairs(const WarpRow<T>& row, T* grad_image, const Slab& slab) {
  typedef T Two __attribute__((vector_size(2 * sizeof(T)), aligned(alignof(T)), may_alias));
  constexpr int kPairs = 1 << (kAxes - 1);
  const PairOffsets<kAxes> offset(row.s);
  const int32_t stride = 2 * row.stride, n = row.s.x;
  const int32_t* first = row.first.data();
  const T* taps = row.taps.data();
  const Landing landing(slab, offset.of[kPairs - 1] + 1);
  prefetch(row, grad_image, offset.of[kPairs - 1]);
  for (int32_t parity = 0; parity < 2; ++parity)
    for (int32_t i = parity; i < n; i += 2) {
      const T* from = taps + 2 * i;
      if (landing.whole(first[i])) [[likely]] {
        T* to = grad_image + first[i];
        for (int r = 0; r < kPairs; ++r)
          *reinterpret_cast<Two*>(to + offset.of[r]) += *reinterpret_cast<const Two*>(from + r * stride);
      } else {
        row.template taps_of<Interpolation::linear, kAxes>(i).each(row.s, [&](int64_t at, int a, int b, int c) {
          if (slab.has(at)) grad_image[at] += from[(2 * a + b) * stride + c];
        });
      }
    }
}

// --- cubic -----------------------------------------------------------------------------------------------
// Sixteen taps of one plane at a time (all in 2D, a quarter in 3D), for a stretch of a row: what stays in cache.
// Plane 4 b + c of them, [16, kStretch], is tap b of the height and c of the width.

constexpr int32_t kStretch = 8 * kGatherPack;

template <typename T, int kAxes>
MEDADV_SIMD void weigh_row(WarpRow<T>& row, bool slopes) {
  for (int32_t axis = 3 - kAxes; axis < 3; ++axis)
    for (int k = 0; k < 4; ++k) {
      const T* part = &row.part[size_t(axis) * row.stride];
      T *w = row.weights(axis, k), *w_slope = row.slopes(axis, k);
      MEDADV_INDEPENDENT
      for (int32_t i = 0; i < row.s.x; ++i) w[i] = convolution_weight(k, part[i]);
      if (!slopes) continue;
      MEDADV_INDEPENDENT
      for (int32_t i = 0; i < row.s.x; ++i) w_slope[i] = convolution_slope(k, part[i]);
    }
}

// Calls f(begin, count, a) for the stretches of a row and, in 3D, each tap a of the depth, whose taps are then
// in scratch.
template <typename T, typename S, int kAxes, typename F>
inline void for_each_stretch(WarpRow<T>& row, const S* image, const F& f) {
  const int32_t x = row.s.x;
  const int64_t size = row.s.voxels(), plane = row.s.plane();
  prefetch(row, image, (kAxes == 3 ? 3 * plane : 0) + 3 * x);
  for (int32_t begin = 0; begin < x; begin += kStretch) {
    const int32_t count = std::min(kStretch, x - begin);
    for (int a = 0; a < (kAxes == 3 ? 4 : 1); ++a) {
      const TapLines<S, 4, 4> lines{image + a * plane, size - a * plane, {0, x, 2 * x, 3 * x}};
      gather_taps(lines, &row.first[size_t(begin)], count, row.taps.data(), kStretch);
      f(begin, count, a);
    }
  }
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void blend_cubic(WarpRow<T>& row, int32_t begin, int32_t count, int a, S* __restrict out) {
  const T *taps = row.taps.data(), *wz = row.weights(0, a) + begin, *wy = row.weights(1, 0) + begin,
          *wx = row.weights(2, 0) + begin;
  const int32_t stride = row.stride;
  T* __restrict sum = row.sum.data();
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < count; ++i) {
    T value = T(0);
    MEDADV_UNROLL
    for (int c = 0; c < 4; ++c) {
      T column = T(0);
      MEDADV_UNROLL
      for (int b = 0; b < 4; ++b) column += wy[b * stride + i] * taps[(4 * b + c) * kStretch + i];
      value += wx[c * stride + i] * column;
    }
    if constexpr (kAxes == 2) out[i] = S(value);
    else sum[i] = (a ? sum[i] : T(0)) + wz[i] * value;
  }
  if constexpr (kAxes == 3)
    if (a == 3)
      for (int32_t i = 0; i < count; ++i) out[i] = S(sum[i]);
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void add_cubic_slopes(WarpRow<T>& row, int32_t begin, int32_t count, int a, const S* grad,
                                  T* const* force) {
  const T *taps = row.taps.data(), *wz = row.weights(0, a) + begin, *sz = row.slopes(0, a) + begin,
          *wy = row.weights(1, 0) + begin, *sy = row.slopes(1, 0) + begin, *wx = row.weights(2, 0) + begin,
          *sx = row.slopes(2, 0) + begin;
  const int32_t stride = row.stride;
  T *fz = force[0] + begin, *fy = force[kAxes - 2] + begin, *fx = force[kAxes - 1] + begin;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < count; ++i) {
    T value = T(0), slope_y = T(0), slope_x = T(0);
    MEDADV_UNROLL
    for (int c = 0; c < 4; ++c) {
      T column = T(0), slope = T(0);
      MEDADV_UNROLL
      for (int b = 0; b < 4; ++b) {
        const T tap = taps[(4 * b + c) * kStretch + i];
        column += wy[b * stride + i] * tap;
        slope += sy[b * stride + i] * tap;
      }
      if constexpr (kAxes == 3) value += wx[c * stride + i] * column;
      slope_x += sx[c * stride + i] * column;
      slope_y += wx[c * stride + i] * slope;
    }
    const T g = T(grad[i]), along = kAxes == 3 ? g * wz[i] : g;
    if constexpr (kAxes == 3) fz[i] += g * (sz[i] * value);
    fy[i] += along * slope_y;
    fx[i] += along * slope_x;
  }
}

template <typename T>
using Four [[gnu::vector_size(4 * sizeof(T)), gnu::aligned(alignof(T)), gnu::may_alias]] = T;

// The shares of a row's gradients along the width, four side by side.
template <typename T, typename S>
MEDADV_SIMD void share_cubic(WarpRow<T>& row, const S* grad) {
  const T* wx = row.weights(2, 0);
  const int32_t stride = row.stride;
  T* shares = row.taps.data();
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < row.s.x; ++i) {
    MEDADV_UNROLL
    for (int c = 0; c < 4; ++c) shares[4 * i + c] = T(grad[i]) * wx[c * stride + i];
  }
}

// Every fourth voxel at a time, as pairs above and for the same reason.
template <typename T, int kAxes>
MEDADV_SIMD void scatter_cubic(WarpRow<T>& row, T* grad_image, const Slab& slab) {
  const T *wz = row.weights(0, 0), *wy = row.weights(1, 0), *shares = row.taps.data();
  const int32_t* first = row.first.data();
  const int64_t line = row.s.x, plane = row.s.plane();
  const int32_t n = row.s.x, stride = row.stride;
  constexpr int kPlanes = kAxes == 3 ? 4 : 1;
  const Landing landing(slab, (kPlanes - 1) * plane + 3 * line + 3);
  for (int32_t phase = 0; phase < 4; ++phase)
    for (int32_t i = phase; i < n; i += 4) {
      const auto weight = [&](int a, int b) { return (kAxes == 3 ? wz[a * stride + i] : T(1)) * wy[b * stride + i]; };
      const Four<T> share = *reinterpret_cast<const Four<T>*>(shares + 4 * i);
      if (landing.whole(first[i])) [[likely]] {
        T* to = grad_image + first[i];
        for (int a = 0; a < kPlanes; ++a)
          for (int b = 0; b < 4; ++b) *reinterpret_cast<Four<T>*>(to + a * plane + b * line) += weight(a, b) * share;
      } else {
        row.template taps_of<Interpolation::cubic, kAxes>(i).each(row.s, [&](int64_t at, int a, int b, int c) {
          if (slab.has(at)) grad_image[at] += weight(a, b) * share[c];
        });
      }
    }
}

// --- which of these ----------------------------------------------------------------------------------------

// Calls f.operator()<interpolation, axes>().
template <typename F>
void choose(const Sampling& s, const F& f) {
  const auto with = [&]<Interpolation kind>() {
    s.axes == 3 ? f.template operator()<kind, 3>() : f.template operator()<kind, 2>();
  };
  switch (s.interpolation) {
    case Interpolation::nearest: return with.template operator()<Interpolation::nearest>();
    case Interpolation::linear: return with.template operator()<Interpolation::linear>();
    case Interpolation::cubic: return with.template operator()<Interpolation::cubic>();
  }
}

}  // namespace

template <typename T>
WarpRow<T>::WarpRow(const Sampling& sampling)
    : s(sampling), stride(padded(s.x)), first(stride, -1), part(size_t(3) * stride), border(stride),
      own_(size_t(3) * stride) {
  if (s.interpolation == Interpolation::linear) taps.resize(size_t(s.axes == 3 ? 8 : 4) * stride);
  if (s.interpolation != Interpolation::cubic) return;
  taps.resize(std::max<size_t>(16 * kStretch, size_t(4) * stride));
  weight.resize(size_t(24) * stride);
  sum.resize(kStretch);
}

template <typename T>
void WarpRow<T>::locate(int32_t row_z, int32_t row_y, bool slopes) {
  z = row_z;
  y = row_y;
  choose(s, [&]<Interpolation kind, int kAxes>() {
    locate_here<T, kind, kAxes>(*this);
    if constexpr (kind == Interpolation::cubic) weigh_row<T, kAxes>(*this, slopes);
  });
}

template <typename T>
template <typename S>
void WarpRow<T>::sample(const S* image, S* out) {
  if constexpr (std::is_integral_v<S>) {
    copy_row(*this, image, out);
  } else {
    choose(s, [&]<Interpolation kind, int kAxes>() {
      if constexpr (kind == Interpolation::nearest) {
        copy_row(*this, image, out);
      } else if constexpr (kind == Interpolation::linear) {
        fetch_linear<T, S, kAxes>(*this, image);
        blend_linear<T, S, kAxes>(*this, out);
      } else {
        for_each_stretch<T, S, kAxes>(*this, image, [&](int32_t begin, int32_t count, int a) {
          blend_cubic<T, S, kAxes>(*this, begin, count, a, out + begin);
        });
      }
      if constexpr (kind != Interpolation::nearest)
        for_each_border([&](int32_t i) { out[i] = S(taps_of<kind, kAxes>(i).value(s, image)); });
    });
  }
}

template <typename T>
template <typename S>
void WarpRow<T>::add_slopes(const S* image, const S* grad, T* const* force, bool sampled) {
  choose(s, [&]<Interpolation kind, int kAxes>() {
    if constexpr (kind == Interpolation::linear) {
      if (!sampled) fetch_linear<T, S, kAxes>(*this, image);
      add_linear_slopes<T, S, kAxes>(*this, grad, force);
    } else if constexpr (kind == Interpolation::cubic) {
      for_each_stretch<T, S, kAxes>(*this, image, [&](int32_t begin, int32_t count, int a) {
        add_cubic_slopes<T, S, kAxes>(*this, begin, count, a, grad + begin, force);
      });
    }
    if constexpr (kind != Interpolation::nearest)
      for_each_border([&](int32_t i) {
        T along[kAxes] = {};
        taps_of<kind, kAxes>(i).add_slopes(s, image, T(grad[i]), along);
        for (int k = 0; k < kAxes; ++k) force[k][i] += along[k];
      });
  });
}

template <typename T>
template <typename S>
void WarpRow<T>::scatter(const S* grad, T* grad_image, const Slab& slab) {
  choose(s, [&]<Interpolation kind, int kAxes>() {
    if constexpr (kind == Interpolation::nearest) {
      for (int32_t i = 0; i < s.x; ++i)
        if (slab.has(first[i])) grad_image[first[i]] += T(grad[i]);
    } else if constexpr (kind == Interpolation::linear) {
      share_pairs<T, S, kAxes>(*this, grad);
      scatter_pairs<T, kAxes>(*this, grad_image, slab);
    } else {
      share_cubic<T, S>(*this, grad);
      scatter_cubic<T, kAxes>(*this, grad_image, slab);
    }
  });
}

template class WarpRow<float>;
template class WarpRow<double>;
#define MEDADV_INSTANTIATE(T, S)                                                  \
  template void WarpRow<T>::sample<S>(const S*, S*);                              \
  template void WarpRow<T>::add_slopes<S>(const S*, const S*, T* const*, bool);   \
  template void WarpRow<T>::scatter<S>(const S*, T*, const Slab&);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)
template void WarpRow<float>::sample<int8_t>(const int8_t*, int8_t*);
template void WarpRow<float>::sample<int16_t>(const int16_t*, int16_t*);
template void WarpRow<float>::sample<int32_t>(const int32_t*, int32_t*);
template void WarpRow<float>::sample<int64_t>(const int64_t*, int64_t*);

}  // namespace medadv::cpu
