#include "cpu/spline_jacobian.h"

#include <numeric>

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// Control rows of every derivative, by component and axis.
template <typename T>
using Controls = std::vector<ControlRows<T>>;

template <typename T, int kAxes>
Controls<T> controls_of(const SlopeRows<T>& rows) {
  Controls<T> controls;
  for (int n = 0; n < kAxes * kAxes; ++n) controls.emplace_back(rows[n % kAxes]);
  return controls;
}

// c: the lattice of one example.
template <typename T, typename S, int kAxes>
MEDADV_SIMD void spread(const SlopeRows<T>& rows, const Block& block, const S* c, Controls<T>& controls) {
  for (int k = 0; k < kAxes; ++k)
    for (int a = 0; a < kAxes; ++a)
      controls[size_t(k * kAxes + a)].spread(rows[a], block, c + k * rows[a].g.knots());
}

// The entries of G along one row: g[(component * kAxes + axis) * stride + i].
template <typename T, int kAxes>
MEDADV_SIMD void deform(const SlopeRows<T>& rows, const Block& block, const Strip& strip, int32_t y,
                        const Controls<T>& controls, T* g) {
  for (int k = 0; k < kAxes; ++k)
    for (int a = 0; a < kAxes; ++a) {
      const FieldRow<T> slope(rows[a], controls[size_t(k * kAxes + a)], block, strip, y, T(-(k == a)));
      T* __restrict out = g + (k * kAxes + a) * rows[a].stride;
      for (int32_t i = 0; i < rows[a].g.x.size; ++i) out[i] = slope(i);
    }
}

template <typename T, int kAxes>
Deformation<T, kAxes> at(const T* g, int32_t stride, int32_t i) {
  Deformation<T, kAxes> d;
  MEDADV_UNROLL
  for (int k = 0; k < kAxes; ++k)
    MEDADV_UNROLL
    for (int a = 0; a < kAxes; ++a) d.g[k][a] = g[(k * kAxes + a) * stride + i];
  return d;
}

template <typename T, typename S, int kAxes>
MEDADV_SIMD void determinant_row(const T* g, int32_t stride, int32_t n, S* __restrict out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) out[i] = S(at<T, kAxes>(g, stride, i).determinant());
}

// Adds the squares of what a row's determinants lack, and writes the force on them. Returns whether there is any.
template <typename T, int kAxes>
MEDADV_SIMD bool penalise_row(const T* g, int32_t stride, int32_t n, T threshold, T weight, T* __restrict sum,
                              T* __restrict pull) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const T s = shortfall(threshold, at<T, kAxes>(g, stride, i).determinant());
    sum[i] += s * s;
    pull[i] = T(-2) * weight * s;
  }
  int any = 0;
  for (int32_t i = 0; i < n; ++i) any |= pull[i] != 0;
  return any != 0;
}

// The force on a row's determinants becomes forces on the entries of G, in their place.
template <typename T, typename S, int kAxes>
MEDADV_SIMD void force_row(const S* pull, int32_t n, T* g, int32_t stride) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const Deformation<T, kAxes> d = at<T, kAxes>(g, stride, i);
    MEDADV_UNROLL
    for (int k = 0; k < kAxes; ++k)
      MEDADV_UNROLL
      for (int a = 0; a < kAxes; ++a) g[(k * kAxes + a) * stride + i] = T(pull[i]) * d.cofactor(k, a);
  }
}

template <typename T, int kAxes>
MEDADV_SIMD void add_forces(const std::vector<SplineAdjoint<T>>& along, const SlopeRows<T>& rows, const Block& block,
                            const Strip& strip, const T* forces, std::vector<Scratch<T>>& columns) {
  const int64_t stride = rows[0].stride;
  for (int n = 0; n < kAxes * kAxes; ++n)
    along[size_t(n % kAxes)].add_strip(block, strip, columns[size_t(n)], [=](const Strip&, auto) {
      const T* force = forces + n * stride;
      return [=](int r, int32_t i) { return force[r * kAxes * kAxes * stride + i]; };
    });
}

template <typename T>
MEDADV_SIMD void end(SplineAdjoint<T>& adjoint, const Block& block, const Scratch<T>& columns) {
  adjoint.end_block(block, columns);
}

// One thread's memory.
template <typename T, int kAxes>
struct Memory {
  static constexpr int kEntries = kAxes * kAxes;
  int32_t stride;
  Controls<T> controls;
  Scratch<T> deformations;  // [row of a strip, component, axis, stride]
  Scratch<T> pulls;         // [row of a strip, stride]
  typename SlopeAdjoint<T, kAxes>::Columns columns;

  explicit Memory(const SlopeRows<T>& rows)
      : stride(rows[0].stride), controls(controls_of<T, kAxes>(rows)),
        deformations(size_t(kStripRows * kEntries) * stride), pulls(size_t(kStripRows) * stride), columns(kEntries) {}

  T* deformation(int32_t row) { return &deformations[size_t(row * kEntries) * stride]; }
  T* pull(int32_t row) { return &pulls[size_t(row) * stride]; }
};

}  // namespace

template <typename T, typename S, int kAxes>
void SplineJacobianDeterminant<T, S, kAxes>::run(int64_t first, int64_t last) const {
  const SplineRows<T>& s = rows_[0];
  Memory<T, kAxes> memory(rows_);
  for (int64_t b = first; b < last; ++b) {
    const Block block = s.block(b);
    spread<T, S, kAxes>(rows_, block, c_ + block.channel * kAxes * s.g.knots(), memory.controls);
    for (int32_t n = block.band->begin; n < block.band->end; ++n)
      for (int32_t y = s.strips[n].begin; y < s.strips[n].end; ++y) {
        deform<T, kAxes>(rows_, block, s.strips[n], y, memory.controls, memory.deformation(0));
        determinant_row<T, S, kAxes>(memory.deformation(0), s.stride, s.g.x.size, out_ + s.row_offset(block, y));
      }
  }
}

template <typename T, int kAxes>
SlopeAdjoint<T, kAxes>::SlopeAdjoint(const SlopeRows<T>& rows, int64_t examples) : rows_(rows) {
  for (const SplineRows<T>& along : rows) along_.emplace_back(along, Channels{examples * kAxes, 1});
}

template <typename T, int kAxes>
void SlopeAdjoint<T, kAxes>::begin_block(const Block& block, Columns& columns) const {
  for (size_t n = 0; n < columns.size(); ++n) along_[n % kAxes].begin_block(block, columns[n]);
}

template <typename T, int kAxes>
void SlopeAdjoint<T, kAxes>::add_strip(const Block& block, const Strip& strip, const T* forces,
                                       Columns& columns) const {
  add_forces<T, kAxes>(along_, rows_, block, strip, forces, columns);
}

template <typename T, int kAxes>
void SlopeAdjoint<T, kAxes>::end_block(const Block& block, const Columns& columns) {
  for (int n = 0; n < kAxes * kAxes; ++n)
    end(along_[size_t(n % kAxes)], {block.channel * kAxes + n / kAxes, block.z, block.band}, columns[size_t(n)]);
}

template <typename T, int kAxes>
template <typename S>
void SlopeAdjoint<T, kAxes>::gather(int64_t first, int64_t last, S* gradient) const {
  const Lattice& g = rows_[0].g;
  const int64_t size = int64_t(g.y.knots) * g.x.knots;
  std::vector<T> plane(size);
  for (int64_t p = first; p < last; ++p) {
    std::fill(plane.begin(), plane.end(), T(0));
    for (const SplineAdjoint<T>& adjoint : along_) adjoint.add_gathered(p, plane.data());
    for (int64_t i = 0; i < size; ++i) gradient[p * size + i] = S(plane[i]);
  }
}

template <typename T, typename S, int kAxes>
void SplineJacobianGradient<T, S, kAxes>::run(int64_t first, int64_t last) {
  const SplineRows<T>& s = rows_[0];
  Memory<T, kAxes> memory(rows_);
  for (int64_t b = first; b < last; ++b) {
    const Block block = s.block(b);
    spread<T, S, kAxes>(rows_, block, c_ + block.channel * kAxes * s.g.knots(), memory.controls);
    adjoint_.begin_block(block, memory.columns);
    for (int32_t n = block.band->begin; n < block.band->end; ++n) {
      const Strip& strip = s.strips[n];
      for (int32_t y = strip.begin; y < strip.end; ++y) {
        T* g = memory.deformation(y - strip.begin);
        deform<T, kAxes>(rows_, block, strip, y, memory.controls, g);
        force_row<T, S, kAxes>(grad_ + s.row_offset(block, y), s.g.x.size, g, s.stride);
      }
      adjoint_.add_strip(block, strip, memory.deformation(0), memory.columns);
    }
    adjoint_.end_block(block, memory.columns);
  }
}

template <typename T, typename S, int kAxes>
void SplineFoldingPenalty<T, S, kAxes>::run(int64_t first, int64_t last) {
  const SplineRows<T>& s = rows_[0];
  const int32_t width = s.g.x.size;
  Memory<T, kAxes> memory(rows_);
  Scratch<T> sum(size_t(s.stride));
  for (int64_t b = first; b < last; ++b) {
    const Block block = s.block(b);
    spread<T, S, kAxes>(rows_, block, c_ + block.channel * kAxes * s.g.knots(), memory.controls);
    std::fill(sum.begin(), sum.end(), T(0));
    bool pulled = false;  // where nothing folds there is no force, and most of the work is saved
    for (int32_t n = block.band->begin; n < block.band->end; ++n) {
      const Strip& strip = s.strips[n];
      bool pulls = false;
      for (int32_t y = strip.begin; y < strip.end; ++y) {
        T* g = memory.deformation(y - strip.begin);
        deform<T, kAxes>(rows_, block, strip, y, memory.controls, g);
        pulls |= penalise_row<T, kAxes>(g, s.stride, width, threshold_, weight_, sum.data(),
                                        memory.pull(y - strip.begin));
      }
      if (!pulls || !gradient_) continue;
      if (!pulled) adjoint_.begin_block(block, memory.columns);
      pulled = true;
      for (int32_t r = 0; r < strip.end - strip.begin; ++r)
        force_row<T, T, kAxes>(memory.pull(r), width, memory.deformation(r), s.stride);
      adjoint_.add_strip(block, strip, memory.deformation(0), memory.columns);
    }
    if (pulled) adjoint_.end_block(block, memory.columns);
    partial_[size_t(b)] = std::accumulate(sum.begin(), sum.begin() + width, 0.0);
  }
}

template <typename T, typename S, int kAxes>
void SplineFoldingPenalty<T, S, kAxes>::total(double* penalty) const {
  const int64_t count = rows_[0].blocks(1);
  for (int64_t example = 0; example < examples_; ++example) {
    const auto first = partial_.begin() + example * count;
    penalty[example] = std::accumulate(first, first + count, 0.0) / double(rows_[0].g.voxels());
  }
}

#define MEDADV_INSTANTIATE_AXES(T, S, kAxes)              \
  template class SplineJacobianDeterminant<T, S, kAxes>;  \
  template class SplineJacobianGradient<T, S, kAxes>;     \
  template class SplineFoldingPenalty<T, S, kAxes>;
#define MEDADV_INSTANTIATE(T, S)   \
  MEDADV_INSTANTIATE_AXES(T, S, 2) \
  MEDADV_INSTANTIATE_AXES(T, S, 3)
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)

}  // namespace medadv::cpu
