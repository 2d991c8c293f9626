#include "cpu/polynomial_rows.h"

#include "core/exp.h"
#include "core/log.h"

namespace medadv::cpu {
namespace {

// Calls f with an integral constant of 1 ... kMaxPowers.
template <int kRows = kMaxPowers, typename F>
void with_rows(int32_t rows, const F& f) {
  if (rows >= kRows) return f(std::integral_constant<int, kRows>{});
  if constexpr (kRows > 1) with_rows<kRows - 1>(rows, f);
}

template <int kRows, typename T>
T sum_at(const T (&a)[kRows], const Segment<T>* p, int32_t i) {
  T sum = a[0] * p[0][i];
  MEDADV_UNROLL_16
  for (int l = 1; l < kRows; ++l) sum += a[l] * p[l][i];
  return sum;
}

}  // namespace

template <typename T>
MEDADV_SIMD void tabulate_powers(const Recurrence<T>& r, int32_t powers, const T* x, int32_t n, Segment<T>* p) {
  with_rows(powers, [&](auto count) {
    T c[count.value];
    for (int k = 0; k < count.value; ++k) c[k] = r.c[k];
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < n; ++i) {
      const T at = x[i];
      T value = 1, before = 0;
      MEDADV_UNROLL_16
      for (int k = 0; k < count.value; ++k) {
        p[k][i] = value;
        const T after = at * value - c[k] * before;
        before = value;
        value = after;
      }
    }
  });
}

template <typename T>
MEDADV_SIMD void tabulate_slopes(const Recurrence<T>& r, int32_t powers, const T* x, int32_t n, Segment<T>* p,
                                 Segment<T>* slopes) {
  with_rows(powers, [&](auto count) {
    T c[count.value];
    for (int k = 0; k < count.value; ++k) c[k] = r.c[k];
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < n; ++i) {
      const T at = x[i];
      T value = 1, before = 0, slope = 0, slope_before = 0;
      MEDADV_UNROLL_16
      for (int k = 0; k < count.value; ++k) {
        p[k][i] = value;
        slopes[k][i] = slope;
        const T after = at * value - c[k] * before, slope_after = value + (at * slope - c[k] * slope_before);
        before = value;
        value = after;
        slope_before = slope;
        slope = slope_after;
      }
    }
  });
}

template <typename T>
MEDADV_SIMD void combine(int32_t rows, const T* a, const Segment<T>* p, int32_t n, T* sum) {
  for (int32_t first = 0; first < rows; first += kMaxPowers)
    with_rows(rows - first, [&](auto count) {
      T w[count.value];
      for (int l = 0; l < count.value; ++l) w[l] = a[first + l];
      const Segment<T>* from = p + first;
      if (first == 0) {
        MEDADV_INDEPENDENT
        for (int32_t i = 0; i < n; ++i) sum[i] = sum_at(w, from, i);
      } else {
        MEDADV_INDEPENDENT
        for (int32_t i = 0; i < n; ++i) sum[i] += sum_at(w, from, i);
      }
    });
}

template <typename T>
MEDADV_SIMD void add_combined(int32_t rows, const T* a, const Segment<T>* p, const T* factor, int32_t n, T* sum) {
  with_rows(rows, [&](auto count) {
    T w[count.value];
    for (int l = 0; l < count.value; ++l) w[l] = a[l];
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < n; ++i) sum[i] += factor[i] * sum_at(w, p, i);
  });
}

template <typename T>
MEDADV_SIMD void add_combined_slopes(int32_t rows, const T* a, const Segment<T>* p, const Segment<T>* slope,
                                     const T* factor, const T* factor_slope, int32_t n, PowerSlopes<T>& to) {
  T *sum = to.sum, *by_v = to.by_v, *by_u = to.by_u;
  with_rows(rows, [&](auto count) {
    T w[count.value];
    for (int l = 0; l < count.value; ++l) w[l] = a[l];
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < n; ++i) {
      const T value = sum_at(w, p, i), by_power = sum_at(w, slope, i);
      sum[i] += factor[i] * value;
      by_v[i] += factor_slope[i] * value;
      by_u[i] += factor[i] * by_power;
    }
  });
}

namespace {

// kRows sums at a time, a pack of lanes each: the outer loop is the vector, so nothing is summed across it.
template <int kRows, typename T>
void project_rows(const T* f, const Segment<T>* p, int32_t n, Lanes<T>* lanes) {
  for (int32_t first = 0; first < n; first += kWhole) {
    MEDADV_INDEPENDENT
    for (int32_t k = 0; k < kPack; ++k) {
      T sum[kRows];
      MEDADV_UNROLL
      for (int l = 0; l < kRows; ++l) sum[l] = lanes[l][k];
      MEDADV_UNROLL
      for (int32_t i = 0; i < kWhole; i += kPack) {
        const T force = f[first + i + k];
        MEDADV_UNROLL
        for (int l = 0; l < kRows; ++l) sum[l] += force * p[l][first + i + k];
      }
      MEDADV_UNROLL
      for (int l = 0; l < kRows; ++l) lanes[l][k] = sum[l];
    }
  }
}

}  // namespace

template <typename T>
MEDADV_SIMD void project(int32_t rows, const T* f, const Segment<T>* p, int32_t n, Lanes<T>* lanes) {
  int32_t first = 0;
  for (; first + 4 <= rows; first += 4) project_rows<4>(f, p + first, n, lanes + first);
  switch (rows - first) {
    case 3: return project_rows<3>(f, p + first, n, lanes + first);
    case 2: return project_rows<2>(f, p + first, n, lanes + first);
    case 1: return project_rows<1>(f, p + first, n, lanes + first);
  }
}

template <typename T>
MEDADV_SIMD void contract_height(int32_t powers, const Lanes<T>* y, const Lanes<T>* plane, int32_t rows,
                                 Lanes<T>* lines) {
  for (int32_t row = 0; row < rows; ++row) {
    T* line = lines[row];
    for (int32_t l = 0; l < kPack; ++l) line[l] = plane[0][l];
    for (int32_t t = 1; t < powers; ++t) {
      const T weight = y[row][t];
      const T* from = plane[t];
      MEDADV_INDEPENDENT
      for (int32_t l = 0; l < kPack; ++l) line[l] += weight * from[l];
    }
  }
}

template <typename T>
MEDADV_SIMD void add_outer(int32_t powers, const T* a, const Lanes<T>* lanes, Lanes<T>* to) {
  for (int32_t t = 0; t < powers; ++t, to += kMaxPowers) {
    const T weight = a[t];
    const T* from = lanes[0];
    T* sum = to[0];
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < (powers - t) * kPack; ++i) sum[i] += weight * from[i];
  }
}

template <typename T>
MEDADV_SIMD void multiply(const T* a, const T* b, int32_t n, T* out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
}

template <typename T>
MEDADV_SIMD void add_product(const T* a, const T* b, int32_t n, T* out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) out[i] += a[i] * b[i];
}

template <typename T>
MEDADV_SIMD void interpolate(const T* line, const int32_t* cell, const T* t, int32_t n, T* out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) out[i] = (1 - t[i]) * line[cell[i]] + t[i] * line[cell[i] + 1];
}

template <typename T>
MEDADV_SIMD void exponentiate(const T* v, int32_t n, T* out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) out[i] = exp_anywhere(v[i]);
}

template <typename T>
MEDADV_SIMD void tabulate_thin_plate(const ControlGrid& g, T w, T v, const T* u, int32_t n, Segment<T>* table) {
  for (int32_t z = 0; z < g.z; ++z)
    for (int32_t y = 0; y < g.y; ++y) {
      const T dz = w - coordinate<T>(z, g.z), dy = v - coordinate<T>(y, g.y), far = dz * dz + dy * dy;
      for (int32_t x = 0; x < g.x; ++x) {
        const T at = coordinate<T>(x, g.x);
        T* out = *table++;
        if (g.axes == 3) {
          MEDADV_INDEPENDENT
          for (int32_t i = 0; i < n; ++i) out[i] = exact_root(far + (u[i] - at) * (u[i] - at));
        } else {
          MEDADV_INDEPENDENT
          for (int32_t i = 0; i < n; ++i) {
            const T square = far + (u[i] - at) * (u[i] - at);
            out[i] = square * log_positive(square > T(kLeastSquare) ? square : T(kLeastSquare));
          }
        }
      }
    }
  for (int32_t d = -1; d < g.axes; ++d, ++table)
    for (int32_t i = 0; i < n; ++i)
      (*table)[i] = d < 0 ? T(1) : d == g.axes - 1 ? u[i] : d == g.axes - 2 ? v : w;
}

#define MEDADV_INSTANTIATE(T)                                                                                        \
  template void tabulate_powers<T>(const Recurrence<T>&, int32_t, const T*, int32_t, Segment<T>*);                   \
  template void tabulate_slopes<T>(const Recurrence<T>&, int32_t, const T*, int32_t, Segment<T>*, Segment<T>*);      \
  template void combine<T>(int32_t, const T*, const Segment<T>*, int32_t, T*);                                       \
  template void add_combined<T>(int32_t, const T*, const Segment<T>*, const T*, int32_t, T*);                        \
  template void add_combined_slopes<T>(int32_t, const T*, const Segment<T>*, const Segment<T>*, const T*, const T*,  \
                                       int32_t, PowerSlopes<T>&);                                                      \
  template void project<T>(int32_t, const T*, const Segment<T>*, int32_t, Lanes<T>*);                                \
  template void contract_height<T>(int32_t, const Lanes<T>*, const Lanes<T>*, int32_t, Lanes<T>*);                   \
  template void add_outer<T>(int32_t, const T*, const Lanes<T>*, Lanes<T>*);                                         \
  template void multiply<T>(const T*, const T*, int32_t, T*);                                                        \
  template void add_product<T>(const T*, const T*, int32_t, T*);                                                     \
  template void interpolate<T>(const T*, const int32_t*, const T*, int32_t, T*);                                     \
  template void exponentiate<T>(const T*, int32_t, T*);                                                              \
  template void tabulate_thin_plate<T>(const ControlGrid&, T, T, const T*, int32_t, Segment<T>*);
MEDADV_INSTANTIATE(float)
MEDADV_INSTANTIATE(double)

}  // namespace medadv::cpu
