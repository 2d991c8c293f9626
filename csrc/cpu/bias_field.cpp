#include "cpu/bias_field.h"

#include "core/exp.h"
#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// The gain exp(B) of a block, row by row.
//
// Where the field of a whole block stays within 1/2 of its middle m (a gain ratio of e, far more than a
// scanner's), exp(B) = exp(m) exp(B - m), and the second factor needs no range reduction.
template <typename T>
struct BlockGain {
  BlockPolynomials<T> polynomials;
  std::vector<T> gain;
  T scale = 1;
  bool narrow = false;

  explicit BlockGain(const SplineRows<T>& s) : polynomials(s), gain(padded(s.g.x.size)) {}

  template <typename S>
  void collapse(const SplineRows<T>& s, const Block& block, const S* c) {
    polynomials.collapse(s, block, c);
    if constexpr (std::is_same_v<T, float>) {
      const T middle = (polynomials.low + polynomials.high) / 2, reach = polynomials.high - middle;
      narrow = reach <= kExpReach * 0.999f && middle - polynomials.low <= kExpReach * 0.999f;
      if (!narrow) return;
      scale = exp_anywhere(middle);
      polynomials.shift(s, middle);
    }
  }

  const T* row(const SplineRows<T>& s, int32_t y) {
    const int32_t n = int32_t(gain.size());
    T* __restrict g = gain.data();
    polynomials.evaluate(s, y, g);
    if constexpr (std::is_same_v<T, float>) {
      if (narrow) {
        for (int32_t i = 0; i < n; ++i) g[i] = exp_near_zero(g[i]) * scale;
        return g;
      }
    }
    for (int32_t i = 0; i < n; ++i) g[i] = exp_anywhere(g[i]);
    return g;
  }
};

template <typename T, typename S>
MEDADV_SIMD void forward(const SplineRows<T>& s, const Block& block, const S* image, const S* c,
                         BlockGain<T>& gains, S* out) {
  gains.collapse(s, block, c);
  const Strip& strip = s.strips[block.strip];
  for (int32_t row = strip.begin; row < strip.end; ++row) {
    const T* gain = gains.row(s, row);
    const S* x = image + s.row_offset(block, row);
    S* __restrict y = out + s.row_offset(block, row);
    for (int32_t i = 0; i < s.g.x.size; ++i) y[i] = S(T(x[i]) * gain[i]);
  }
}

template <typename T, typename S>
MEDADV_SIMD void backward(const SplineRows<T>& s, int64_t index, const S* grad, const S* image, const S* c,
                          BlockGain<T>& gains, typename SplineAdjoint<T>::Scratch& scratch,
                          SplineAdjoint<T>& adjoint, S* grad_image) {
  const Block block = s.block(index);
  gains.collapse(s, block, c);
  const Strip& strip = s.strips[block.strip];
  for (int32_t row = strip.begin; row < strip.end; ++row) {
    const T* gain = gains.row(s, row);
    const S *g = grad + s.row_offset(block, row), *x = image + s.row_offset(block, row);
    S* __restrict dx = grad_image + s.row_offset(block, row);
    T* __restrict force = scratch.row(row - strip.begin);
    for (int32_t i = 0; i < s.g.x.size; ++i) {
      const T d = T(g[i]) * gain[i];
      dx[i] = S(d);
      force[i] = d * T(x[i]);
    }
  }
  adjoint.reduce(index, scratch);
}

template <typename T, typename S>
MEDADV_SIMD void lattice_backward(const SplineRows<T>& s, int64_t index, const S* grad, const S* out,
                                  typename SplineAdjoint<T>::Scratch& scratch, SplineAdjoint<T>& adjoint) {
  const Block block = s.block(index);
  const Strip& strip = s.strips[block.strip];
  for (int32_t row = strip.begin; row < strip.end; ++row) {
    const S *g = grad + s.row_offset(block, row), *y = out + s.row_offset(block, row);
    T* __restrict force = scratch.row(row - strip.begin);
    for (int32_t i = 0; i < s.g.x.size; ++i) force[i] = T(g[i]) * T(y[i]);
  }
  adjoint.reduce(index, scratch);
}

}  // namespace

template <typename T, typename S>
void BiasField<T, S>::run(int64_t first, int64_t last) const {
  BlockGain<T> gains(s_);
  for (int64_t b = first; b < last; ++b) {
    const Block block = s_.block(b);
    forward(s_, block, image_, c_ + channels_.lattice_of(block.channel) * s_.g.knots(), gains, out_);
  }
}

template <typename T, typename S>
void BiasFieldBackward<T, S>::run(int64_t first, int64_t last) {
  BlockGain<T> gains(s_);
  typename SplineAdjoint<T>::Scratch scratch(s_);
  for (int64_t b = first; b < last; ++b) {
    const S* c = c_ + channels_.lattice_of(s_.block(b).channel) * s_.g.knots();
    backward(s_, b, grad_, image_, c, gains, scratch, adjoint_, grad_image_);
  }
}

template <typename T, typename S>
void BiasFieldLatticeBackward<T, S>::run(int64_t first, int64_t last) {
  typename SplineAdjoint<T>::Scratch scratch(s_);
  for (int64_t b = first; b < last; ++b) lattice_backward(s_, b, grad_, out_, scratch, adjoint_);
}

#define MEDADV_INSTANTIATE(T, S)          \
  template class BiasField<T, S>;         \
  template class BiasFieldBackward<T, S>; \
  template class BiasFieldLatticeBackward<T, S>;
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)

}  // namespace medadv::cpu
