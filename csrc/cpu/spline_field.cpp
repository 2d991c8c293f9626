#include "cpu/spline_field.h"

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

template <typename T, typename S>
MEDADV_SIMD void forward(const SplineRows<T>& s, const Block& block, const S* c, ControlRows<T>& control, S* out) {
  control.spread(s, block, c + block.channel * s.g.knots());
  for (int32_t n = block.band->begin; n < block.band->end; ++n) {
    const Strip& strip = s.strips[n];
    for (int32_t row = strip.begin; row < strip.end; ++row) {
      const FieldRow<T> field(s, control, block, strip, row);
      S* __restrict y = out + s.row_offset(block, row);
      for (int32_t i = 0; i < s.g.x.size; ++i) y[i] = S(field(i));
    }
  }
}

// The force of a gradient to the field is itself.
template <typename T, typename S>
MEDADV_SIMD void backward(const SplineRows<T>& s, int64_t index, const S* grad, Scratch<T>& scratch,
                          SplineAdjoint<T>& adjoint) {
  const Block block = s.block(index);
  adjoint.add_block(index, scratch, [&](const Strip& strip, auto) {
    const S* g = grad + s.row_offset(block, strip.begin);
    const int32_t n = s.g.x.size;
    return [=](int r, int32_t i) { return T(g[int64_t(r) * n + i]); };
  });
}

}  // namespace

template <typename T, typename S>
void SplineField<T, S>::run(int64_t first, int64_t last) const {
  ControlRows<T> control(s_);
  for (int64_t b = first; b < last; ++b) forward(s_, s_.block(b), c_, control, out_);
}

template <typename T, typename S>
void SplineFieldAdjoint<T, S>::run(int64_t first, int64_t last) {
  Scratch<T> scratch;
  for (int64_t b = first; b < last; ++b) backward(s_, b, grad_, scratch, adjoint_);
}

template class SplineField<float, float>;
template class SplineField<double, double>;
template class SplineField<float, Half>;
template class SplineField<float, BFloat16>;
template class SplineFieldAdjoint<float, float>;
template class SplineFieldAdjoint<double, double>;
template class SplineFieldAdjoint<float, Half>;
template class SplineFieldAdjoint<float, BFloat16>;

}  // namespace medadv::cpu
