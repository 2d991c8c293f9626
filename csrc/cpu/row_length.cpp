#include "cpu/row_length.h"

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

constexpr int kLanes = 16;

template <RowNorm kNorm, bool kOrigin, typename S>
double part(const S* x, const S* origin, int64_t i) {
  return length_part<kNorm>(kOrigin ? double(x[i]) - double(origin[i]) : double(x[i]));
}

template <RowNorm kNorm, bool kOrigin, typename S>
MEDADV_SIMD double joined_parts(const S* x, const S* origin, int64_t count) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane)
      lanes[lane] = join_parts<kNorm>(lanes[lane], part<kNorm, kOrigin>(x, origin, i + lane));
  for (int lane = 0; i < count; ++i, ++lane)
    lanes[lane] = join_parts<kNorm>(lanes[lane], part<kNorm, kOrigin>(x, origin, i));
  double joined = lanes[0];
  for (int lane = 1; lane < kLanes; ++lane) joined = join_parts<kNorm>(joined, lanes[lane]);
  return joined;
}

// Calls f.operator()<norm>().
template <typename F>
void with_norm(RowNorm norm, const F& f) {
  switch (norm) {
    case RowNorm::linf: return f.template operator()<RowNorm::linf>();
    case RowNorm::l1: return f.template operator()<RowNorm::l1>();
    case RowNorm::l2: return f.template operator()<RowNorm::l2>();
  }
}

template <typename S>
MEDADV_SIMD void scale(const S* x, double factor, int64_t count, S* out) {
  MEDADV_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) out[i] = S(double(x[i]) * factor);
}

}  // namespace

template <typename S>
void RowLengths<S>::run(int64_t first, int64_t last) {
  with_norm(norm_, [&]<RowNorm kNorm>() {
    for (int64_t block = first; block < last; ++block)
      pieces_.with_block(block, [&](int64_t, int64_t begin, int64_t count) {
        parts_[size_t(block)] = origin_ ? joined_parts<kNorm, true>(x_ + begin, origin_ + begin, count)
                                        : joined_parts<kNorm, false, S>(x_ + begin, nullptr, count);
      });
  });
}

template <typename S>
void RowLengths<S>::gather(double* lengths) const {
  with_norm(norm_, [&]<RowNorm kNorm>() {
    for (int64_t row = 0; row < pieces_.rows; ++row) {
      double joined = 0;
      for (int64_t piece = 0; piece < pieces_.pieces; ++piece)
        joined = join_parts<kNorm>(joined, parts_[size_t(row * pieces_.pieces + piece)]);
      lengths[row] = length_of_parts<kNorm>(joined);
    }
  });
}

template <typename S, typename Factor>
void ScaledRows<S, Factor>::run(int64_t first, int64_t last) const {
  for (int64_t block = first; block < last; ++block)
    pieces_.with_block(block, [&](int64_t row, int64_t begin, int64_t count) {
      const double factor = factor_(lengths_[row]);
      if (factor != 1 || x_ != out_) scale(x_ + begin, factor, count, out_ + begin);
    });
}

#define MEDADV_INSTANTIATE(S)              \
  template class RowLengths<S>;            \
  template class ScaledRows<S, ToUnit>;
MEDADV_INSTANTIATE(float)
MEDADV_INSTANTIATE(double)
MEDADV_INSTANTIATE(Half)
MEDADV_INSTANTIATE(BFloat16)
template class ScaledRows<float, IntoBall>;
template class ScaledRows<double, IntoBall>;

}  // namespace medadv::cpu
