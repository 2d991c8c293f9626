// Sums of powers along segments of a row, the loops that polynomial fields and thin-plate splines are made of.
//
// A segment is at most kSegment voxels of one row; tables of it have rows of that fixed length, so that loops over
// several rows at a time need one address. Loops run over whole(n) voxels, which is why a table is defined up to there;
// a force is zero past the n-th voxel.
#pragma once

#include <cstdint>

#include "core/polynomial.h"
#include "core/thin_plate_spline.h"
#include "cpu/spline_rows.h"

namespace medadv::cpu {

inline constexpr int32_t kSegment = 128;
inline constexpr int32_t kWhole = 4 * kPack;

inline int32_t whole(int32_t n) { return (n + kWhole - 1) / kWhole * kWhole; }

template <typename T>
using Segment = T[kSegment];

// Row n holds p_n(x_i), or its derivative.
template <typename T>
struct PowerTable {
  alignas(64) Segment<T> p[kMaxPowers];
};

// Sums of one number per lane, to be added up in the end.
template <typename T>
using Lanes = T[kPack];

template <typename T>
double total(const Lanes<T>& lanes) {
  double sum = 0;
  for (const T value : lanes) sum += double(value);
  return sum;
}

// At most kMaxPowers of them.
template <typename T>
void tabulate_powers(const Recurrence<T>& r, int32_t powers, const T* x, int32_t n, Segment<T>* p);
template <typename T>
void tabulate_slopes(const Recurrence<T>& r, int32_t powers, const T* x, int32_t n, Segment<T>* p, Segment<T>* slopes);

// sum[i] = a_0 p_0[i] + a_1 p_1[i] + ... over `rows` rows.
template <typename T>
void combine(int32_t rows, const T* a, const Segment<T>* p, int32_t n, T* sum);

// sum[i] += factor[i] (a_0 p_0[i] + ...), at most kMaxPowers rows.
template <typename T>
void add_combined(int32_t rows, const T* a, const Segment<T>* p, const T* factor, int32_t n, T* sum);

// The same, and its derivatives: by_v from the derivative of the factor, by_u from those of the powers.
template <typename T>
struct PowerSlopes {
  Segment<T> sum, by_v, by_u;
};
template <typename T>
void add_combined_slopes(int32_t rows, const T* a, const Segment<T>* p, const Segment<T>* slope, const T* factor,
                         const T* factor_slope, int32_t n, PowerSlopes<T>& to);

// lanes[k] += f[i] p_k[i], the adjoint of combine.
template <typename T>
void project(int32_t rows, const T* f, const Segment<T>* p, int32_t n, Lanes<T>* lanes);

// lines[row][l] = sum over t of y[row][t] plane[t][l], the first power being 1.
template <typename T>
void contract_height(int32_t powers, const Lanes<T>* y, const Lanes<T>* plane, int32_t rows, Lanes<T>* lines);

// to[t][l] += a_t lanes[l] for t + l < powers; rows of `to` have kMaxPowers entries.
template <typename T>
void add_outer(int32_t powers, const T* a, const Lanes<T>* lanes, Lanes<T>* to);

// out[i] = a[i] b[i], and out[i] += a[i] b[i].
template <typename T>
void multiply(const T* a, const T* b, int32_t n, T* out);
template <typename T>
void add_product(const T* a, const T* b, int32_t n, T* out);

// out[i]: the line between its points cell[i] and the next one, at t[i] in [0, 1].
template <typename T>
void interpolate(const T* line, const int32_t* cell, const T* t, int32_t n, T* out);

// out[i] = exp(v[i]).
template <typename T>
void exponentiate(const T* v, int32_t n, T* out);

// Row k holds what the weight k of a thin-plate spline is multiplied by, at the coordinates (w, v, u[i]).
template <typename T>
void tabulate_thin_plate(const ControlGrid& g, T w, T v, const T* u, int32_t n, Segment<T>* table);

}  // namespace medadv::cpu
