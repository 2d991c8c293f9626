#include "cpu/bias_field.h"

#include "cpu/block_gain.h"
#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// Calls body(row, strip, field) for every row of a block.
template <typename T, typename Body>
void for_each_row(const SplineRows<T>& s, const BlockGain<T>& gain, const Block& block, const Strip& strip,
                  const Body& body) {
  for (int32_t row = strip.begin; row < strip.end; ++row)
    body(row, FieldRow<T>(s, gain.control, block, strip, row, gain.middle));
}

template <typename T, typename S>
MEDADV_SIMD void forward(const SplineRows<T>& s, const Block& block, const S* image, const S* c,
                         BlockGain<T>& gain, S* out) {
  gain.spread(s, block, c);
  for (int32_t n = block.band->begin; n < block.band->end; ++n)
    for_each_row(s, gain, block, s.strips[n], [&](int32_t row, const FieldRow<T>& field) {
      const S* x = image + s.row_offset(block, row);
      S* __restrict y = out + s.row_offset(block, row);
      for_each_gain(s, gain, field, [=](int32_t i, T g) { y[i] = S(T(x[i]) * g); });
    });
}

// The force g x exp(B) on the lattice goes to `forces`, a strip at a time; the gradient g exp(B) to the image is
// written on the way.
template <typename T, typename S>
MEDADV_SIMD void backward(const SplineRows<T>& s, int64_t index, const S* grad, const S* image, const S* c,
                          BlockGain<T>& gain, Scratch<T>& forces, Scratch<T>& scratch,
                          SplineAdjoint<T>& adjoint, S* grad_image) {
  const Block block = s.block(index);
  gain.spread(s, block, c);
  adjoint.add_block(index, scratch, [&](const Strip& strip, auto) {
    for_each_row(s, gain, block, strip, [&](int32_t row, const FieldRow<T>& field) {
      const S *d = grad + s.row_offset(block, row), *x = image + s.row_offset(block, row);
      S* dx = grad_image + s.row_offset(block, row);
      T* force = &forces[size_t(row - strip.begin) * s.stride];
      for_each_gain(s, gain, field, [=](int32_t i, T g) {
        const T through = T(d[i]) * g;
        dx[i] = S(through);
        force[i] = through * T(x[i]);
      });
    });
    const T* force = forces.data();
    const int32_t stride = s.stride;
    return [=](int r, int32_t i) { return force[r * stride + i]; };
  });
}

// The same force from the output y = x exp(B).
template <typename T, typename S>
MEDADV_SIMD void lattice_backward(const SplineRows<T>& s, int64_t index, const S* grad, const S* out,
                                  Scratch<T>& scratch, SplineAdjoint<T>& adjoint) {
  const Block block = s.block(index);
  adjoint.add_block(index, scratch, [&](const Strip& strip, auto) {
    const int64_t at = s.row_offset(block, strip.begin);
    const S *g = grad + at, *y = out + at;
    const int32_t n = s.g.x.size;
    return [=](int r, int32_t i) { return T(g[int64_t(r) * n + i]) * T(y[int64_t(r) * n + i]); };
  });
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
  Scratch<T> forces(size_t(kStripRows) * s_.stride), scratch;
  for (int64_t b = first; b < last; ++b) {
    const S* c = c_ + channels_.lattice_of(s_.block(b).channel) * s_.g.knots();
    backward(s_, b, grad_, image_, c, gains, forces, scratch, adjoint_, grad_image_);
  }
}

template <typename T, typename S>
void BiasFieldLatticeBackward<T, S>::run(int64_t first, int64_t last) {
  Scratch<T> scratch;
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
