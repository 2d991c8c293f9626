#include "cpu/spline_motion.h"

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

template <typename T, typename D>
MEDADV_SIMD void spread_control(const SplineRows<T>& s, const Block& block, const D* c, ControlRows<T>& control) {
  control.spread(s, block, c);
}

template <typename T>
MEDADV_SIMD void evaluate_row(const SplineRows<T>& s, const FieldRow<T>& field, T* __restrict d) {
  for (int32_t i = 0; i < s.g.x.size; ++i) d[i] = field(i);
}

template <typename T>
MEDADV_SIMD void add_block(const SplineRows<T>& s, int64_t index, const T* forces, Scratch<T>& scratch,
                           SplineAdjoint<T>& adjoint) {
  const int32_t begin = s.first_row(s.block(index)), stride = s.stride;
  adjoint.add_block(index, scratch, [=](const Strip& strip, auto) {
    const T* rows = forces + int64_t(strip.begin - begin) * stride;
    return [=](int r, int32_t i) { return rows[int64_t(r) * stride + i]; };
  });
}

}  // namespace

template <typename T>
template <typename D>
void SplineMotion<T>::spread(const Block& block, const D* c) {
  for (size_t k = 0; k < controls_.size(); ++k) spread_control(s_, block, c + int64_t(k) * s_.g.knots(), controls_[k]);
}

template <typename T>
template <typename D>
Reach SplineMotion<T>::reach(const Block& block, const D* c) {
  Reach reach;
  controls_[0].for_each_control(s_, block, c, [&](T d) { reach.add(double(d)); });
  return reach;
}

template <typename T>
void SplineMotion<T>::displace(const Block& block, int32_t y, WarpRow<T>& row) const {
  for (size_t k = 0; k < controls_.size(); ++k) {
    const FieldRow<T> field(s_, controls_[k], block, {s_.y[y].cell, y, y + 1}, y);
    evaluate_row(s_, field, row.own(int32_t(k)));
    row.displace(int32_t(k), row.own(int32_t(k)));
  }
}

template <typename T>
void add_forces(const SplineRows<T>& s, int64_t index, const T* forces, Scratch<T>& scratch,
                SplineAdjoint<T>& adjoint) {
  add_block(s, index, forces, scratch, adjoint);
}

template class SplineMotion<float>;
template class SplineMotion<double>;
#define MEDADV_INSTANTIATE(T, D)                                \
  template void SplineMotion<T>::spread<D>(const Block&, const D*); \
  template Reach SplineMotion<T>::reach<D>(const Block&, const D*);
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)
template void add_forces(const SplineRows<float>&, int64_t, const float*, Scratch<float>&, SplineAdjoint<float>&);
template void add_forces(const SplineRows<double>&, int64_t, const double*, Scratch<double>&, SplineAdjoint<double>&);

}  // namespace medadv::cpu
