#include "cpu/row_length.h"

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

constexpr int kLanes = 32;  // four vectors of 512 bits: sums that do not wait for each other

template <RowNorm kNorm, bool kOrigin, typename S>
auto part_at(const S* x, const S* origin, int64_t i) {
  return RowPart<kNorm>::of(kOrigin ? double(x[i]) - double(origin[i]) : double(x[i]));
}

template <RowNorm kNorm, bool kOrigin, typename S>
MEDADV_SIMD typename RowPart<kNorm>::Type joined_parts(const S* x, const S* origin, int64_t count) {
  using Part = RowPart<kNorm>;
  typename Part::Type lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane)
      lanes[lane] = Part::join(lanes[lane], part_at<kNorm, kOrigin>(x, origin, i + lane));
  for (int lane = 0; i < count; ++i, ++lane) lanes[lane] = Part::join(lanes[lane], part_at<kNorm, kOrigin>(x, origin, i));
  auto joined = lanes[0];
  for (int lane = 1; lane < kLanes; ++lane) joined = Part::join(joined, lanes[lane]);
  return joined;
}

template <typename S>
MEDADV_SIMD void scale(const S* x, double factor, int64_t count, S* out) {
  MEDADV_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) out[i] = S(double(x[i]) * factor);
}

}  // namespace

template <typename S, RowNorm kNorm>
void RowLengths<S, kNorm>::run(int64_t first, int64_t last) {
  for (int64_t block = first; block < last; ++block)
    pieces_.with_block(block, [&](int64_t, int64_t begin, int64_t count) {
      parts_[size_t(block)] = origin_ ? joined_parts<kNorm, true>(x_ + begin, origin_ + begin, count)
                                      : joined_parts<kNorm, false, S>(x_ + begin, nullptr, count);
    });
}

template <typename S, RowNorm kNorm>
void RowLengths<S, kNorm>::gather(double* lengths) const {
  for (int64_t row = 0; row < pieces_.rows; ++row) {
    typename RowPart<kNorm>::Type joined = 0;
    for (int64_t piece = 0; piece < pieces_.pieces; ++piece)
      joined = RowPart<kNorm>::join(joined, parts_[size_t(row * pieces_.pieces + piece)]);
    lengths[row] = RowPart<kNorm>::length(joined);
  }
}

template <typename S, typename Factor>
void ScaledRows<S, Factor>::run(int64_t first, int64_t last) const {
  for (int64_t block = first; block < last; ++block)
    pieces_.with_block(block, [&](int64_t row, int64_t begin, int64_t count) {
      const double factor = factor_(lengths_[row], row);
      if (factor != 1 || x_ != out_) scale(x_ + begin, factor, count, out_ + begin);
    });
}

#define MEDADV_INSTANTIATE(S)                  \
  template class RowLengths<S, RowNorm::linf>; \
  template class RowLengths<S, RowNorm::l1>;   \
  template class RowLengths<S, RowNorm::l2>;   \
  template class ScaledRows<S, ToUnit>;
MEDADV_INSTANTIATE(float)
MEDADV_INSTANTIATE(double)
MEDADV_INSTANTIATE(Half)
MEDADV_INSTANTIATE(BFloat16)
template class ScaledRows<float, IntoBall>;
template class ScaledRows<double, IntoBall>;
template class ScaledRows<float, IntoBalls>;
template class ScaledRows<double, IntoBalls>;

}  // namespace medadv::cpu
