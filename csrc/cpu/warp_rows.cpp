#include "cpu/warp_rows.h"

#include <algorithm>
#include <type_traits>

#include "cpu/spline_rows.h"
#include "cpu/storage.h"

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
  const auto places = [](int32_t size) { return uint32_t(std::max(0, size - kTaps<kind> + 1)); };
  const uint32_t in_z = places(s.z), in_y = places(s.y), in_x = places(s.x);
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
  }
}

// Asks for the lines that the row kRowsAhead below will need: those that this one needs, about that much further on.
// A displaced row crosses rows of the image in pieces too short for the hardware to guess the next.
// last: of the last tap from the first.
constexpr int32_t kRowsAhead = 4;

template <typename T, typename S>
void prefetch(const WarpRow<T>& row, const S* image, int64_t last) {
  const int64_t ahead = last + int64_t(kRowsAhead) * row.s.x;
  for (int32_t i = 0; i < row.s.x; i += 64 / int32_t(sizeof(S)))
    if (row.first[i] >= 0) __builtin_prefetch(image + row.first[i] + ahead);
}

// --- nearest ---------------------------------------------------------------------------------------------

// Replaces every -1 that the padding fills by the voxel that stands there.
template <typename T, int kAxes>
void pad_row(WarpRow<T>& row) {
  if (row.s.padding == Padding::zeros) return;
  for (int32_t i = 0; i < row.s.x; ++i)
    if (row.first[i] < 0)
      row.template taps_of<Interpolation::nearest, kAxes>(i).each(
          row.s, [&](int64_t at, int, int, int) { row.first[i] = int32_t(at); });
}

template <typename T, typename S>
void copy_row(const WarpRow<T>& row, const S* image, S* __restrict out) {
  const int32_t* first = row.first.data();
  const int32_t n = row.s.x;
  prefetch(row, image, 0);
  for (int32_t i = 0; i < n; ++i) out[i] = first[i] < 0 ? S(0) : image[first[i]];
}

// --- linear ----------------------------------------------------------------------------------------------
// Taps lie in rows of pairs: [2^(axes - 1), 2 stride]; pair r of a voxel is its taps r / 2, r % 2 of the slower axes.

template <typename T>
struct Pair {
  T v[2];
};

template <int kAxes>
struct PairOffsets {
  int32_t of[1 << (kAxes - 1)];  // of every pair from the first tap

  explicit PairOffsets(const Sampling& s) {
    for (int r = 0; r < 1 << (kAxes - 1); ++r) of[r] = int32_t((r >> 1) * s.plane()) + (r & 1) * s.x;
  }
};

template <typename T, typename S, int kAxes>
void fetch_pairs(WarpRow<T>& row, const S* image) {
  constexpr int kPairs = 1 << (kAxes - 1);
  const PairOffsets<kAxes> offset(row.s);
  T* taps = row.taps.data();
  const int32_t stride = 2 * row.stride, n = row.s.x;
  const int32_t* first = row.first.data();
  prefetch(row, image, offset.of[kPairs - 1]);
  const auto copy = [=](int32_t i) {
    const S* from = image + first[i];
    for (int r = 0; r < kPairs; ++r) {
      const Pair<S> pair = *reinterpret_cast<const Pair<S>*>(from + offset.of[r]);
      *reinterpret_cast<Pair<T>*>(taps + 2 * i + r * stride) = {{T(pair.v[0]), T(pair.v[1])}};
    }
  };
  const auto copy_at_border = [&](int32_t i) {
    T* to = taps + 2 * i;
    for (int r = 0; r < kPairs; ++r) to[r * stride] = to[r * stride + 1] = T(0);
    row.template taps_of<Interpolation::linear, kAxes>(i).each(
        row.s, [&](int64_t at, int a, int b, int c) { to[(2 * a + b) * stride + c] = T(image[at]); });
  };
  constexpr int32_t kChunk = 4;  // voxels that share a test
  int32_t i = 0;
  for (; i + kChunk <= n; i += kChunk) {
    if ((first[i] | first[i + 1] | first[i + 2] | first[i + 3]) >= 0) [[likely]] {
      for (int32_t k = 0; k < kChunk; ++k) copy(i + k);
    } else {
      for (int32_t k = 0; k < kChunk; ++k) first[i + k] >= 0 ? copy(i + k) : copy_at_border(i + k);
    }
  }
  for (; i < n; ++i) first[i] >= 0 ? copy(i) : copy_at_border(i);
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void blend_pairs(const WarpRow<T>& row, S* __restrict out) {
  const int32_t n = row.s.x, stride = 2 * row.stride;
  const T *tz = row.part.data(), *ty = tz + row.stride, *tx = ty + row.stride;
  const T *p0 = row.taps.data(), *p1 = p0 + stride, *p2 = p1 + stride, *p3 = p2 + stride;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const auto along_x = [&](const T* p) { return p[2 * i] + tx[i] * (p[2 * i + 1] - p[2 * i]); };
    const T near0 = along_x(p0), near1 = along_x(p1);
    T value = near0 + ty[i] * (near1 - near0);
    if constexpr (kAxes == 3) {
      const T far0 = along_x(p2), far1 = along_x(p3);
      value += tz[i] * (far0 + ty[i] * (far1 - far0) - value);
    }
    out[i] = S(value);
  }
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void add_pair_slopes(const WarpRow<T>& row, const S* grad, T* const* force) {
  const int32_t n = row.s.x, stride = 2 * row.stride;
  const T *tz = row.part.data(), *ty = tz + row.stride, *tx = ty + row.stride;
  const T *p0 = row.taps.data(), *p1 = p0 + stride, *p2 = p1 + stride, *p3 = p2 + stride;
  T *fz = force[0], *fy = force[kAxes - 2], *fx = force[kAxes - 1];
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const T g = T(grad[i]), t = tx[i], u = ty[i];
    const auto step = [&](const T* p) { return p[2 * i + 1] - p[2 * i]; };
    const T s0 = step(p0), s1 = step(p1);
    const T v0 = p0[2 * i] + t * s0, v1 = p1[2 * i] + t * s1;
    T slope_x = s0 + u * (s1 - s0), slope_y = v1 - v0;
    if constexpr (kAxes == 3) {
      const T w = tz[i], s2 = step(p2), s3 = step(p3);
      const T v2 = p2[2 * i] + t * s2, v3 = p3[2 * i] + t * s3;
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

// Even voxels before odd ones: the pairs of neighbours overlap, and a load just after a store that covers half of
// it waits for the cache.
template <typename T, int kAxes>
void scatter_pairs(const WarpRow<T>& row, T* grad_image) {
  typedef T Two __attribute__((vector_size(2 * sizeof(T)), aligned(alignof(T)), may_alias));
  constexpr int kPairs = 1 << (kAxes - 1);
  const PairOffsets<kAxes> offset(row.s);
  const int32_t stride = 2 * row.stride, n = row.s.x;
  const int32_t* first = row.first.data();
  const T* taps = row.taps.data();
  prefetch(row, grad_image, offset.of[kPairs - 1]);
  for (int32_t parity = 0; parity < 2; ++parity)
    for (int32_t i = parity; i < n; i += 2) {
      const T* from = taps + 2 * i;
      if (first[i] >= 0) [[likely]] {
        T* to = grad_image + first[i];
        for (int r = 0; r < kPairs; ++r)
          *reinterpret_cast<Two*>(to + offset.of[r]) += *reinterpret_cast<const Two*>(from + r * stride);
      } else {
        row.template taps_of<Interpolation::linear, kAxes>(i).each(
            row.s, [&](int64_t at, int a, int b, int c) { grad_image[at] += from[(2 * a + b) * stride + c]; });
      }
    }
}

// --- cubic -----------------------------------------------------------------------------------------------
// Four voxels along the width at a time: 4 lines of them in 2D, 16 in 3D.

template <typename T, int kAxes>
MEDADV_SIMD void weigh_row(WarpRow<T>& row, bool slopes) {
  for (int32_t axis = 3 - kAxes; axis < 3; ++axis) {
    const T* part = &row.part[size_t(axis) * row.stride];
    T* w = &row.weight[size_t(axis) * 4 * row.stride];
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < row.s.x; ++i) {
      MEDADV_UNROLL
      for (int k = 0; k < 4; ++k) w[4 * i + k] = convolution_weight(k, part[i]);
    }
    if (!slopes) continue;
    w = &row.slope[size_t(axis) * 4 * row.stride];
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < row.s.x; ++i) {
      MEDADV_UNROLL
      for (int k = 0; k < 4; ++k) w[4 * i + k] = convolution_slope(k, part[i]);
    }
  }
}

template <typename T>
using Four [[gnu::vector_size(4 * sizeof(T)), gnu::aligned(alignof(T)), gnu::may_alias]] = T;

// The taps of one voxel: lines of four, `y` and `z` apart.
template <typename S>
struct Window {
  const S* first;
  int64_t y, z;
};

// Calls f(i, window) for every voxel of a row; the taps of voxels at the border are copied to where they would
// lie in the middle of an image.
template <typename T, typename S, int kAxes, typename F>
inline void for_each_window(const WarpRow<T>& row, const S* image, const F& f) {
  for (int32_t i = 0; i < row.s.x; ++i) {
    if (row.first[i] >= 0) [[likely]] {
      f(i, Window<S>{image + row.first[i], row.s.x, row.s.plane()});
    } else {
      S copy[64];
      std::fill(copy, copy + 64, S(0));
      row.template taps_of<Interpolation::cubic, kAxes>(i).each(
          row.s, [&](int64_t at, int a, int b, int c) { copy[16 * a + 4 * b + c] = image[at]; });
      f(i, Window<S>{copy, 4, 16});
    }
  }
}

template <typename T, typename S>
inline Four<T> load4(const S* from) {
  if constexpr (std::is_same_v<T, S>) return *reinterpret_cast<const Four<T>*>(from);
  else return Four<T>{T(from[0]), T(from[1]), T(from[2]), T(from[3])};
}

template <typename T>
inline T dot4(Four<T> sum, const T* w) {
  sum *= load4<T>(w);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Sums the lines of a plane of taps over the weights w.
template <typename T, typename S>
inline Four<T> sum_lines(const S* plane, int64_t stride, const T* w) {
  return (w[0] * load4<T>(plane) + w[1] * load4<T>(plane + stride)) +
         (w[2] * load4<T>(plane + 2 * stride) + w[3] * load4<T>(plane + 3 * stride));
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void sample_cubic(const WarpRow<T>& row, const S* image, S* __restrict out) {
  const T *wz = row.weight.data(), *wy = wz + 4 * row.stride, *wx = wy + 4 * row.stride;
  for_each_window<T, S, kAxes>(row, image, [=](int32_t i, const Window<S>& window) {
    Four<T> sum{};
    if constexpr (kAxes == 2) {
      sum = sum_lines<T>(window.first, window.y, wy + 4 * i);
    } else {
      for (int a = 0; a < 4; ++a)
        sum += wz[4 * i + a] * sum_lines<T>(window.first + a * window.z, window.y, wy + 4 * i);
    }
    out[i] = S(dot4<T>(sum, wx + 4 * i));
  });
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void add_cubic_slopes(const WarpRow<T>& row, const S* image, const S* grad, T* const* force) {
  const int64_t next = 4 * row.stride;
  const T *wz = row.weight.data(), *wy = wz + next, *wx = wy + next;
  const T *sz = row.slope.data(), *sy = sz + next, *sx = sy + next;
  T *fz = force[0], *fy = force[kAxes - 2], *fx = force[kAxes - 1];
  for_each_window<T, S, kAxes>(row, image, [=](int32_t i, const Window<S>& window) {
    const T g = T(grad[i]);
    Four<T> value{}, slope_y{};
    if constexpr (kAxes == 2) {
      value = sum_lines<T>(window.first, window.y, wy + 4 * i);
      slope_y = sum_lines<T>(window.first, window.y, sy + 4 * i);
    } else {
      Four<T> slope_z{};
      for (int a = 0; a < 4; ++a) {
        const S* plane = window.first + a * window.z;
        const Four<T> line = sum_lines<T>(plane, window.y, wy + 4 * i);
        value += wz[4 * i + a] * line;
        slope_z += sz[4 * i + a] * line;
        slope_y += wz[4 * i + a] * sum_lines<T>(plane, window.y, sy + 4 * i);
      }
      fz[i] += g * dot4<T>(slope_z, wx + 4 * i);
    }
    fy[i] += g * dot4<T>(slope_y, wx + 4 * i);
    fx[i] += g * dot4<T>(value, sx + 4 * i);
  });
}

// Every fourth voxel at a time, as pairs above and for the same reason.
template <typename T, typename S, int kAxes>
MEDADV_SIMD void scatter_cubic(const WarpRow<T>& row, const S* grad, T* grad_image) {
  const T *wz = row.weight.data(), *wy = wz + 4 * row.stride, *wx = wy + 4 * row.stride;
  const int32_t* first = row.first.data();
  const int64_t line = row.s.x, plane = row.s.plane();
  const int32_t n = row.s.x;
  constexpr int kPlanes = kAxes == 3 ? 4 : 1;
  for (int32_t phase = 0; phase < 4; ++phase)
    for (int32_t i = phase; i < n; i += 4) {
      const auto weight = [&](int a, int b) { return (kAxes == 3 ? wz[4 * i + a] : T(1)) * wy[4 * i + b]; };
      const Four<T> share = T(grad[i]) * load4<T>(wx + 4 * i);
      if (first[i] >= 0) [[likely]] {
        T* to = grad_image + first[i];
        for (int a = 0; a < kPlanes; ++a)
          for (int b = 0; b < 4; ++b) *reinterpret_cast<Four<T>*>(to + a * plane + b * line) += weight(a, b) * share;
      } else {
        row.template taps_of<Interpolation::cubic, kAxes>(i).each(
            row.s, [&](int64_t at, int a, int b, int c) { grad_image[at] += weight(a, b) * share[c]; });
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
    : s(sampling), stride(padded(s.x)), first(stride), part(size_t(3) * stride), own_(size_t(3) * stride) {
  if (s.interpolation == Interpolation::linear) taps.resize(size_t(s.axes == 3 ? 8 : 4) * stride);
  if (s.interpolation == Interpolation::cubic) weight.resize(size_t(12) * stride);
}

template <typename T>
void WarpRow<T>::locate(int32_t row_z, int32_t row_y, bool slopes) {
  z = row_z;
  y = row_y;
  choose(s, [&]<Interpolation kind, int kAxes>() {
    locate_row<T, kind, kAxes>(*this);
    if constexpr (kind == Interpolation::nearest) pad_row<T, kAxes>(*this);
    if constexpr (kind == Interpolation::cubic) {
      if (slopes) slope.resize(weight.size());
      weigh_row<T, kAxes>(*this, slopes);
    }
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
        fetch_pairs<T, S, kAxes>(*this, image);
        blend_pairs<T, S, kAxes>(*this, out);
      } else {
        sample_cubic<T, S, kAxes>(*this, image, out);
      }
    });
  }
}

template <typename T>
template <typename S>
void WarpRow<T>::add_slopes(const S* image, const S* grad, T* const* force, bool sampled) {
  choose(s, [&]<Interpolation kind, int kAxes>() {
    if constexpr (kind == Interpolation::linear) {
      if (!sampled) fetch_pairs<T, S, kAxes>(*this, image);
      add_pair_slopes<T, S, kAxes>(*this, grad, force);
    } else if constexpr (kind == Interpolation::cubic) {
      add_cubic_slopes<T, S, kAxes>(*this, image, grad, force);
    }
  });
}

template <typename T>
template <typename S>
void WarpRow<T>::scatter(const S* grad, T* grad_image) {
  choose(s, [&]<Interpolation kind, int kAxes>() {
    if constexpr (kind == Interpolation::nearest) {
      for (int32_t i = 0; i < s.x; ++i)
        if (first[i] >= 0) grad_image[first[i]] += T(grad[i]);
    } else if constexpr (kind == Interpolation::linear) {
      share_pairs<T, S, kAxes>(*this, grad);
      scatter_pairs<T, kAxes>(*this, grad_image);
    } else {
      scatter_cubic<T, S, kAxes>(*this, grad, grad_image);
    }
  });
}

template class WarpRow<float>;
template class WarpRow<double>;
#define MEDADV_INSTANTIATE(T, S)                                                  \
  template void WarpRow<T>::sample<S>(const S*, S*);                              \
  template void WarpRow<T>::add_slopes<S>(const S*, const S*, T* const*, bool);   \
  template void WarpRow<T>::scatter<S>(const S*, T*);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)
template void WarpRow<float>::sample<int8_t>(const int8_t*, int8_t*);
template void WarpRow<float>::sample<int16_t>(const int16_t*, int16_t*);
template void WarpRow<float>::sample<int32_t>(const int32_t*, int32_t*);
template void WarpRow<float>::sample<int64_t>(const int64_t*, int64_t*);

}  // namespace medadv::cpu
