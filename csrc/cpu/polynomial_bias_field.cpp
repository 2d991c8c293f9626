#include "cpu/polynomial_bias_field.h"

#include <algorithm>

#include "core/exp.h"
#include "cpu/moved_field.h"
#include "cpu/still_field.h"
#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

template <typename T, typename S>
MEDADV_SIMD void apply_gain(const T* gain, const S* x, int32_t n, S* out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) out[i] = S(T(x[i]) * gain[i]);
}

template <typename T, typename S>
MEDADV_SIMD void apply_field(const T* field, const S* x, int32_t n, S* out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) out[i] = S(T(x[i]) * exp_anywhere(field[i]));
}

// Writes the gradient g exp(B) to the image, and adds the force g x exp(B).
template <typename T, typename S>
MEDADV_SIMD void add_forces(const T* gain, const S* grad, const S* x, int32_t n, S* grad_x, T* force) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    const T through = T(grad[i]) * gain[i];
    grad_x[i] = S(through);
    force[i] += through * T(x[i]);
  }
}

template <typename T, typename S>
MEDADV_SIMD void add_output_forces(const S* grad, const S* y, int32_t n, T* force) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) force[i] += T(grad[i]) * T(y[i]);
}

template <typename Field, typename T, typename S>
void forward(const PolynomialTables<T>& tables, const S* image, S* out, int64_t first, int64_t last) {
  const PolynomialBias<T>& bias = tables.bias;
  Field field(tables, false, false);
  Scratch<T> values(kSegment);
  for (int64_t b = first; b < last; ++b) {
    const RowBlock block(tables, b);
    field.begin(block);
    for_each_segment(block, bias.size().x, [&](const RowSegment& s) {
      field.segment(s);
      for (int64_t example = block.example; example < block.example + block.examples; ++example) {
        field.example(example);
        for (int64_t set = 0; set < bias.sets; ++set) {
          field.evaluate(set, values.data());
          const int64_t channels = bias.per_set();
          int64_t at = bias.first_channel(example, set) * bias.size().voxels() + bias.size().offset(block.z, s.y, s.x);
          if (channels == 1) {
            apply_field(values.data(), image + at, s.n, out + at);
            continue;
          }
          exponentiate(values.data(), s.n, values.data());
          for (int64_t c = 0; c < channels; ++c, at += bias.size().voxels())
            apply_gain(values.data(), image + at, s.n, out + at);
        }
      }
    });
  }
}

template <typename S>
struct BackwardImages {
  const S *grad, *image;
  S* grad_image;
};

template <typename Field, typename T, typename S>
void backward(const PolynomialTables<T>& tables, const BackwardImages<S>& images, const RowBlock& block, Field& field,
              Scratch<T>& values, Scratch<T>& force) {
  const PolynomialBias<T>& bias = tables.bias;
  const int64_t voxels = bias.size().voxels();
  field.begin(block);
  for_each_segment(block, bias.size().x, [&](const RowSegment& s) {
    field.segment(s);
    for (int64_t example = block.example; example < block.example + block.examples; ++example) {
      field.example(example);
      for (int64_t set = 0; set < bias.sets; ++set) {
        if (images.grad_image || field.force_needs_field()) field.evaluate(set, values.data());
        if (images.grad_image) exponentiate(values.data(), s.n, values.data());
        std::fill_n(force.data(), whole(s.n), T(0));
        int64_t at = bias.first_channel(example, set) * voxels + bias.size().offset(block.z, s.y, s.x);
        for (int64_t c = 0; c < bias.per_set(); ++c, at += voxels) {
          if (images.grad_image)
            add_forces(values.data(), images.grad + at, images.image + at, s.n, images.grad_image + at, force.data());
          else
            add_output_forces(images.grad + at, images.image + at, s.n, force.data());
        }
        field.add_force(set, force.data());
      }
      field.end_example();
    }
  });
}

}  // namespace

template <typename T>
template <typename S>
PolynomialTables<T>::PolynomialTables(const PolynomialBias<T>& b, const S* coefficients)
    : bias(b), bands(b.size()), still(b.motion.warp == CoordinateWarp::none), y(size_t(b.size().y) * kPack),
      z(size_t(b.size().z) * kPack), a(size_t(b.examples * b.sets * b.shape.terms())) {
  const int32_t powers = b.shape.degree + 1;
  const auto tabulate = [&](int32_t size, T* to) {
    for (int32_t i = 0; i < size; ++i)
      for (int32_t n = 0; n < powers; ++n) to[i * kPack + n] = monic_power(b.recurrence, coordinate<T>(i, size), n);
  };
  const int32_t terms = b.shape.terms();
  for (int32_t m = 0; m < terms; ++m) {
    const T scale = b.recurrence.term_scale(b.shape.powers(m));
    for (size_t i = size_t(m); i < a.size(); i += size_t(terms)) a[i] = T(coefficients[i]) * scale;
  }
  if (!still) return;
  tabulate(b.size().y, y.data());
  tabulate(b.size().z, z.data());
  x.resize(size_t((b.size().x + kSegment - 1) / kSegment));
  Scratch<T> at(kSegment);
  for (int32_t s = 0; s < int32_t(x.size()); ++s) {
    for (int32_t i = 0; i < kSegment; ++i)
      at[i] = coordinate<T>(std::min(s * kSegment + i, b.size().x - 1), b.size().x);
    tabulate_powers(b.recurrence, powers, at.data(), kSegment, x[s].p);
  }
}

template <typename T, typename S>
void PolynomialBiasField<T, S>::run(int64_t first, int64_t last) const {
  if (tables_.still) forward<StillField<T>>(tables_, image_, out_, first, last);
  else forward<MovedField<T>>(tables_, image_, out_, first, last);
}

template <typename T, typename S>
PolynomialBiasFieldBackward<T, S>::PolynomialBiasFieldBackward(const PolynomialBias<T>& bias, const S* grad,
                                                               const S* image, const S* coefficients, S* grad_image,
                                                               S* grad_coefficients, T* grad_weights)
    : tables_(bias, coefficients), grad_(grad), image_(image), grad_image_(grad_image),
      grad_coefficients_(grad_coefficients), grad_weights_(tables_.still ? nullptr : grad_weights) {
  const ControlGrid& grid = bias.motion.grid;
  sums_ = bias.sets * (tables_.still ? bias.shape.plane_terms() : bias.shape.terms());
  weight_sums_ = 0;
  if (grad_weights_) {
    int64_t rows = 0;
    for (int32_t begin = 0; begin < bias.size().y; begin += tables_.bands.rows) {
      const int32_t end = std::min(begin + tables_.bands.rows, bias.size().y);
      rows = std::max<int64_t>(rows, FlowBand(bias.motion.y(), begin, end).count);
    }
    weight_sums_ = grid.axes * (bias.motion.warp == CoordinateWarp::flow ? rows * grid.x : grid.rows());
  }
  const int64_t count = bias.examples * tables_.blocks_per_example();
  partial_.resize(size_t(count * sums_));
  weight_partial_.resize(size_t(count * weight_sums_));
}

template <typename T, typename S>
void PolynomialBiasFieldBackward<T, S>::run(int64_t first, int64_t last) {
  const BackwardImages<S> images{grad_, image_, grad_image_};
  Scratch<T> values(kSegment), force(kSegment);
  const auto walk = [&](auto field) {
    for (int64_t b = first; b < last; ++b) {
      const RowBlock block(tables_, b);
      backward(tables_, images, block, field, values, force);
      for (int64_t example = block.example; example < block.example + block.examples; ++example) {
        const int64_t at = example * tables_.blocks_per_example() + block.index;
        field.leave(example, partial_.data() + at * sums_, weight_partial_.data() + at * weight_sums_);
      }
    }
  };
  if (tables_.still) walk(StillField<T>(tables_, true, false));
  else walk(MovedField<T>(tables_, true, grad_weights_ != nullptr));
}

template <typename T, typename S>
void PolynomialBiasFieldBackward<T, S>::gather(int64_t first, int64_t last) const {
  for (int64_t example = first; example < last; ++example) {
    gather_coefficients(example);
    if (grad_weights_) gather_weights(example);
  }
}

template <typename T, typename S>
void PolynomialBiasFieldBackward<T, S>::gather_coefficients(int64_t example) const {
  const PolynomialBias<T>& bias = tables_.bias;
  const PolynomialShape &shape = bias.shape, plane{shape.degree, 2};
  const int32_t terms = shape.terms();
  for (int64_t i = 0; i < bias.sets * terms; ++i) {
    const Powers p = shape.powers(int32_t(i % terms));
    const int64_t column = tables_.still ? i / terms * plane.terms() + plane.offset(0, p.t) + p.l : i;
    double sum = 0;
    for (int64_t b = 0; b < tables_.blocks_per_example(); ++b) {
      const double weight = tables_.still ? double(tables_.z[size_t(b / tables_.bands.bands) * kPack + p.s]) : 1.0;
      sum += weight * partial_[size_t((example * tables_.blocks_per_example() + b) * sums_ + column)];
    }
    grad_coefficients_[example * bias.sets * terms + i] = S(T(sum * double(bias.recurrence.term_scale(p))));
  }
}

template <typename T, typename S>
void PolynomialBiasFieldBackward<T, S>::gather_weights(int64_t example) const {
  const Motion<T>& motion = tables_.bias.motion;
  const int64_t count = int64_t(motion.grid.axes) * motion.rows(), blocks = tables_.blocks_per_example();
  std::vector<double> sums(size_t(count), 0.0);
  for (int64_t b = 0; b < blocks; ++b) {
    const double* from = weight_partial_.data() + (example * blocks + b) * weight_sums_;
    if (motion.warp == CoordinateWarp::thin_plate) {
      for (int64_t i = 0; i < count; ++i) sums[i] += from[i];
      continue;
    }
    const int32_t begin = int32_t(b % tables_.bands.bands) * tables_.bands.rows;
    const FlowBand band(motion.y(), begin, std::min(begin + tables_.bands.rows, motion.size.y));
    double tz;
    const int32_t cz = motion.z().locate(int32_t(b / tables_.bands.bands), tz);
    const int64_t length = int64_t(band.count) * motion.grid.x;
    for (int32_t d = 0; d < motion.grid.axes; ++d)
      for (int32_t k = 0; k < (motion.grid.z == 1 ? 1 : 2); ++k) {
        double* to = &sums[size_t(d * motion.rows() + ((cz + k) * motion.grid.y + band.first) * motion.grid.x)];
        for (int64_t i = 0; i < length; ++i) to[i] += (k ? tz : 1 - tz) * from[d * length + i];
      }
  }
  for (int64_t i = 0; i < count; ++i) grad_weights_[example * count + i] = T(sums[i]);
}

#define MEDADV_INSTANTIATE(T, S)           \
  template class PolynomialBiasField<T, S>; \
  template class PolynomialBiasFieldBackward<T, S>;
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)

}  // namespace medadv::cpu
