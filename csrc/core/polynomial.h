// Polynomials of two or three variables and a bounded total degree, in Legendre polynomials or monomials:
//
//   B(w, v, u) = sum over s + t + l <= D of a_stl P_s(w) P_t(v) P_l(u)
//
// with w, v, u along depth, height and width (in 2D: s = 0). Terms are ordered by s, then t, then l. Both bases are
// multiples P_n = scale_n p_n of monic polynomials with one recurrence,
//
//   p_0 = 1,  p_(n+1)(x) = x p_n(x) - c_n p_(n-1)(x),
//
// c_n = n^2 / (4 n^2 - 1) for Legendre and 0 for monomials: one kernel serves both, once its coefficients are scaled.
#pragma once

#include <cstdint>

#include "core/platform.h"

namespace medadv {

enum class PolynomialBasis : int32_t { legendre, monomial };

inline constexpr int32_t kMaxDegree = 12;
inline constexpr int32_t kMaxPowers = kMaxDegree + 1;                                   // of one variable
inline constexpr int32_t kMaxPlaneTerms = (kMaxDegree + 1) * (kMaxDegree + 2) / 2;      // of two
inline constexpr int32_t kMaxTerms = kMaxPlaneTerms * (kMaxDegree + 3) / 3;             // of three

// Powers of one term.
struct Powers {
  int32_t s, t, l;
};

struct PolynomialShape {
  int32_t degree, axes;

  MEDADV_HD int32_t plane_terms() const { return (degree + 1) * (degree + 2) / 2; }
  MEDADV_HD int32_t terms() const { return axes == 3 ? plane_terms() * (degree + 3) / 3 : plane_terms(); }
  MEDADV_HD int32_t max_s() const { return axes == 3 ? degree : 0; }

  // The first term with powers s and t; those of l = 0 ... degree - s - t follow.
  MEDADV_HD int32_t offset(int32_t s, int32_t t) const {
    const int32_t rest = degree - s, after = (rest + 1) * (rest + 2) / 2 * (axes == 3 ? rest + 3 : 3) / 3;
    return terms() - after + t * (rest + 1) - t * (t - 1) / 2;
  }

  MEDADV_HD Powers powers(int32_t term) const {
    Powers p{0, 0, term};
    for (int32_t plane; p.l >= (plane = (degree - p.s + 1) * (degree - p.s + 2) / 2); ++p.s) p.l -= plane;
    for (int32_t row; p.l >= (row = degree - p.s - p.t + 1); ++p.t) p.l -= row;
    return p;
  }
};

template <typename T>
struct Recurrence {
  T c[kMaxPowers + 1];
  T scale[kMaxPowers];

  explicit Recurrence(PolynomialBasis basis) {
    const bool legendre = basis == PolynomialBasis::legendre;
    double factor = 1;
    for (int32_t n = 0; n < kMaxPowers; ++n) {
      scale[n] = T(factor);
      if (legendre) factor *= (2.0 * n + 1) / (n + 1);
    }
    for (int32_t n = 0; n <= kMaxPowers; ++n) c[n] = legendre ? T(double(n) * n / (4.0 * n * n - 1)) : T(0);
  }

  MEDADV_HD T term_scale(const Powers& p) const { return scale[p.s] * scale[p.t] * scale[p.l]; }
};

// p_0(x), p_1(x), ... one after the other.
template <typename T>
struct MonicPowers {
  const Recurrence<T>& r;
  T x, value = 1, before = 0;
  int32_t n = 0;

  MEDADV_HD MonicPowers(const Recurrence<T>& recurrence, T at) : r(recurrence), x(at) {}

  MEDADV_HD void next() {
    const T after = x * value - r.c[n++] * before;
    before = value;
    value = after;
  }
};

template <typename T>
MEDADV_HD T monic_power(const Recurrence<T>& r, T x, int32_t n) {
  MonicPowers<T> p(r, x);
  while (p.n < n) p.next();
  return p.value;
}

// Sum of a_n p_n(x), from the last coefficient to the first (Clenshaw 1955): step(a_n, x, c_(n+1)).
template <typename T>
struct Clenshaw {
  T value = 0, before = 0;

  MEDADV_HD void step(T a, T x, T c) {
    const T next = a + (x * value - c * before);
    before = value;
    value = next;
  }
};

// The same and its derivative by x.
template <typename T>
struct ClenshawSlope {
  Clenshaw<T> sum, slope;

  MEDADV_HD void step(T a, T x, T c) {
    slope.step(sum.value, x, c);
    sum.step(a, x, c);
  }
};

// The polynomial at kCount points (w, v, u); a: coefficients of the monic terms.
template <int kCount, typename T>
MEDADV_HD void polynomial_values(const PolynomialShape& shape, const Recurrence<T>& r, const T* a,
                                 const T (&at)[kCount][3], T (&values)[kCount]) {
  Clenshaw<T> outer[kCount];
  MEDADV_UNROLL_BY(1)
  for (int32_t s = shape.max_s(); s >= 0; --s) {
    Clenshaw<T> middle[kCount];
    MEDADV_UNROLL_BY(1)
    for (int32_t t = shape.degree - s; t >= 0; --t) {
      Clenshaw<T> inner[kCount];
      const T* row = a + shape.offset(s, t);
      MEDADV_UNROLL_BY(2)
      for (int32_t l = shape.degree - s - t; l >= 0; --l) {
        const T coefficient = row[l], c = r.c[l + 1];
        for (int i = 0; i < kCount; ++i) inner[i].step(coefficient, at[i][2], c);
      }
      for (int i = 0; i < kCount; ++i) middle[i].step(inner[i].value, at[i][1], r.c[t + 1]);
    }
    for (int i = 0; i < kCount; ++i) outer[i].step(middle[i].value, at[i][0], r.c[s + 1]);
  }
  for (int i = 0; i < kCount; ++i) values[i] = outer[i].value;
}

// Its derivatives by w, v and u at one point.
template <typename T>
MEDADV_HD void polynomial_slopes(const PolynomialShape& shape, const Recurrence<T>& r, const T* a, const T (&at)[3],
                                 T (&slopes)[3]) {
  ClenshawSlope<T> by_w;
  Clenshaw<T> by_v, by_u;
  MEDADV_UNROLL_BY(1)
  for (int32_t s = shape.max_s(); s >= 0; --s) {
    ClenshawSlope<T> middle_v;
    Clenshaw<T> middle_u;
    MEDADV_UNROLL_BY(1)
    for (int32_t t = shape.degree - s; t >= 0; --t) {
      ClenshawSlope<T> inner;
      const T* row = a + shape.offset(s, t);
      MEDADV_UNROLL_BY(2)
      for (int32_t l = shape.degree - s - t; l >= 0; --l) inner.step(row[l], at[2], r.c[l + 1]);
      middle_v.step(inner.sum.value, at[1], r.c[t + 1]);
      middle_u.step(inner.slope.value, at[1], r.c[t + 1]);
    }
    by_w.step(middle_v.sum.value, at[0], r.c[s + 1]);
    by_v.step(middle_v.slope.value, at[0], r.c[s + 1]);
    by_u.step(middle_u.value, at[0], r.c[s + 1]);
  }
  slopes[0] = by_w.slope.value;
  slopes[1] = by_v.value;
  slopes[2] = by_u.value;
}

}  // namespace medadv
