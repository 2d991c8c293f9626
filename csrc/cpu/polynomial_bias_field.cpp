#include "cpu/polynomial_bias_field.h"

#include <algorithm>

#include "core/exp.h"
#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// Rows of one block, the same ones of several examples.
struct RowBlock {
  int64_t example, examples;  // first of them, and how many
  int64_t index;              // of the block within an example
  int32_t z, begin, end;

  template <typename T>
  RowBlock(const PolynomialTables<T>& t, int64_t block) {
    const int64_t per_example = t.blocks_per_example();
    example = block / per_example * t.examples_per_block();
    examples = std::min(t.examples_per_block(), t.bias.examples - example);
    index = block % per_example;
    z = int32_t(index / t.bands.bands);
    begin = int32_t(index % t.bands.bands) * t.bands.rows;
    end = std::min(begin + t.bands.rows, t.bands.size.y);
  }
};

// Voxels [x, x + n) of row y of the block's plane.
struct RowSegment {
  int32_t y, x, n;
};

template <typename F>
void for_each_segment(const RowBlock& block, int32_t width, const F& f) {
  for (int32_t y = block.begin; y < block.end; ++y)
    for (int32_t x = 0; x < width; x += kSegment) f(RowSegment{y, x, std::min(kSegment, width - x)});
}

// Control points of a flow that a band of rows reaches along the height.
struct FlowBand {
  int32_t first, count;

  FlowBand(const FlowAxis& axis, int32_t begin, int32_t end) {
    float unused;
    first = axis.locate(begin, unused);
    count = axis.points == 1 ? 1 : axis.locate(end - 1, unused) + 2 - first;
  }
};

// --- fields over coordinates that stay as they are --------------------------------------------------------------

template <typename T>
class StillField {
 public:
  StillField(const PolynomialTables<T>& tables, bool backward, bool)
      : t_(tables), shape_(tables.bias.shape), powers_(shape_.degree + 1),
        plane_(size_t(t_.bias.sets * powers_) * kPack),
        lines_(size_t(t_.bias.sets * t_.bands.rows) * kPack),
        row_sums_(backward ? size_t(t_.bias.sets) * kMaxPowers * kPack : 0), sums_(row_sums_.size() * kMaxPowers) {}

  void begin(const RowBlock& block) {
    block_ = &block;
    std::fill(plane_.begin(), plane_.end(), T(0));
    std::fill(sums_.begin(), sums_.end(), T(0));
    const T* z = &t_.z[size_t(block.z) * kPack];
    for (int64_t set = 0; set < t_.bias.sets; ++set)
      for (int32_t s = 0; s <= shape_.max_s(); ++s)
        for (int32_t t = 0; t <= shape_.degree - s; ++t) {
          const T* a = t_.coefficients(block.example, set) + shape_.offset(s, t);
          T* to = &plane_[size_t(set * powers_ + t) * kPack];
          for (int32_t l = 0; l <= shape_.degree - s - t; ++l) to[l] += z[s] * a[l];
        }
    for (int64_t set = 0; set < t_.bias.sets; ++set)
      contract_height(powers_, rows_of(t_.y, block.begin), rows_of(plane_, set * powers_), block.end - block.begin,
                      lines_of(set));
  }

  void segment(const RowSegment& s) { segment_ = s; }
  void example(int64_t) {}

  void evaluate(int64_t set, T* field) {
    const T* line = lines_of(set)[segment_.y - block_->begin];
    combine(powers_, line, powers_of(segment_), segment_.n, field);
  }
  bool force_needs_field() const { return false; }

  void add_force(int64_t set, const T* force) {
    Lanes<T>* line = reinterpret_cast<Lanes<T>*>(&row_sums_[size_t(set * kMaxPowers) * kPack]);
    if (segment_.x == 0) std::fill_n(line[0], powers_ * kPack, T(0));
    project(powers_, force, powers_of(segment_), segment_.n, line);
    if (segment_.x + segment_.n == t_.bands.size.x)
      add_outer(powers_, &t_.y[size_t(segment_.y) * kPack], line, lanes_of(set, 0, 0));
  }

  void end_example() {}

  // Sums of the block's plane: [sets, t, l].
  void leave(int64_t, double* sums, double*) {
    for (int64_t set = 0; set < t_.bias.sets; ++set)
      for (int32_t t = 0; t < powers_; ++t)
        for (int32_t l = 0; l < powers_ - t; ++l)
          *sums++ = total(*lanes_of(set, t, l));
  }

 private:
  static const Lanes<T>* rows_of(const Scratch<T>& table, int64_t row) {
    return reinterpret_cast<const Lanes<T>*>(&table[size_t(row) * kPack]);
  }
  Lanes<T>* lines_of(int64_t set) {
    return reinterpret_cast<Lanes<T>*>(&lines_[size_t(set * t_.bands.rows) * kPack]);
  }
  Lanes<T>* lanes_of(int64_t set, int32_t t, int32_t l) {
    return reinterpret_cast<Lanes<T>*>(&sums_[size_t((set * kMaxPowers + t) * kMaxPowers + l) * kPack]);
  }
  const Segment<T>* powers_of(const RowSegment& s) const { return t_.x[size_t(s.x / kSegment)].p; }

  const PolynomialTables<T>& t_;
  const PolynomialShape shape_;
  const int32_t powers_;
  const RowBlock* block_ = nullptr;
  RowSegment segment_{};
  Scratch<T> plane_;  // [sets, t, kPack] coefficients of the plane
  Scratch<T> lines_;  // [sets, rows of the block, kPack] coefficients of every row
  Scratch<T> row_sums_;  // [sets, l, kPack] sums of a row so far
  Scratch<T> sums_;      // [sets, t, l, kPack], kMaxPowers of t and l
};

// --- fields over coordinates that move ---------------------------------------------------------------------------

template <typename T>
class MovedField {
 public:
  MovedField(const PolynomialTables<T>& tables, bool backward, bool to_motion)
      : t_(tables), motion_(tables.bias.motion), grid_(motion_.grid), shape_(tables.bias.shape),
        powers_(shape_.degree + 1), axes_(grid_.axes), to_motion_(to_motion),
        thin_(motion_.warp == CoordinateWarp::thin_plate), work_(1),
        kernel_(thin_ ? size_t(grid_.rows()) * kSegment : 0) {
    const int64_t examples = tables.examples_per_block();
    if (backward) sums_.resize(size_t(examples * tables.bias.sets * shape_.terms()) * kPack);
    if (to_motion && thin_) weight_sums_.resize(size_t(examples * axes_ * grid_.rows()) * kPack);
    if (thin_) return;
    line_.resize(size_t(axes_) * (grid_.x + 1));
    cell_.resize(size_t(motion_.size.x));
    t_x_.resize(size_t(motion_.size.x));
    for (int32_t i = 0; i < motion_.size.x; ++i) cell_[i] = motion_.x().locate(i, t_x_[i]);
  }

  void begin(const RowBlock& block) {
    block_ = &block;
    std::fill(sums_.begin(), sums_.end(), T(0));
    std::fill(weight_sums_.begin(), weight_sums_.end(), T(0));
    if (!thin_ && to_motion_) {
      band_ = FlowBand(motion_.y(), block.begin, block.end);
      flow_sums_.assign(size_t(axes_) * band_.count * grid_.x, 0.0);
    }
  }

  void segment(const RowSegment& s) {
    segment_ = s;
    n_ = whole(s.n);
    Work& w = work_[0];
    for (int32_t i = 0; i < n_; ++i) w.start[i] = coordinate<T>(std::min(s.x + i, motion_.size.x - 1), motion_.size.x);
    if (thin_)
      tabulate_thin_plate(grid_, coordinate<T>(block_->z, motion_.size.z), coordinate<T>(s.y, motion_.size.y), w.start,
                          n_, kernel());
  }

  // Moves the coordinates of an example of the block, and tabulates their powers.
  void example(int64_t example) {
    example_ = example;
    Work& w = work_[0];
    for (int32_t d = 0; d < axes_; ++d) {
      T* at = w.at[d + 3 - axes_];
      if (thin_) combine(grid_.rows(), motion_.of(example, d), kernel(), n_, at);
      else flow(d, at);
      if (d == axes_ - 1) {
        for (int32_t i = 0; i < n_; ++i) at[i] += w.start[i];
      } else {
        const T stays = d == axes_ - 2 ? coordinate<T>(segment_.y, motion_.size.y)
                                       : coordinate<T>(block_->z, motion_.size.z);
        for (int32_t i = 0; i < n_; ++i) at[i] += stays;
      }
    }
    for (int32_t d = 3 - axes_; d < 3; ++d) {
      if (to_motion_) tabulate_slopes(t_.bias.recurrence, powers_, w.at[d], n_, w.powers[d].p, w.slopes[d].p);
      else tabulate_powers(t_.bias.recurrence, powers_, w.at[d], n_, w.powers[d].p);
    }
    if (to_motion_)
      for (int32_t d = 0; d < 3; ++d) std::fill_n(w.forces[d], n_, T(0));
  }

  void evaluate(int64_t set, T* field) {
    const T* a = t_.coefficients(example_, set);
    to_motion_ ? evaluate_with_slopes(a, field) : evaluate_alone(a, field);
  }
  bool force_needs_field() const { return to_motion_; }

  // After evaluate() of the same set where force_needs_field().
  void add_force(int64_t set, const T* force) {
    Work& w = work_[0];
    const int64_t of_block = (example_ - block_->example) * t_.bias.sets + set;
    for (int32_t s = 0; s <= shape_.max_s(); ++s) {
      const T* in_plane = force;
      if (axes_ == 3) {
        multiply(force, w.powers[0].p[s], n_, w.in_plane);
        in_plane = w.in_plane;
      }
      for (int32_t t = 0; t <= shape_.degree - s; ++t) {
        multiply(in_plane, w.powers[1].p[t], n_, w.in_row);
        project(shape_.degree - s - t + 1, w.in_row, w.powers[2].p, n_,
                reinterpret_cast<Lanes<T>*>(&sums_[size_t(of_block * shape_.terms() + shape_.offset(s, t)) * kPack]));
      }
    }
    if (!to_motion_) return;
    if (axes_ == 3) add_product(force, w.by_w, n_, w.forces[0]);
    add_product(force, w.whole.by_v, n_, w.forces[1]);
    add_product(force, w.whole.by_u, n_, w.forces[2]);
  }

  // Sums the forces of all sets on the coordinates over the segment.
  void end_example() {
    if (!to_motion_) return;
    for (int32_t d = 0; d < axes_; ++d) {
      const T* force = work_[0].forces[d + 3 - axes_];
      if (!thin_) {
        add_flow(d, force);
        continue;
      }
      const int64_t row = ((example_ - block_->example) * axes_ + d) * grid_.rows();
      project(grid_.rows(), force, kernel(), n_, reinterpret_cast<Lanes<T>*>(&weight_sums_[size_t(row) * kPack]));
    }
  }

  // Sums of one example of the block: [sets, terms], and of the weights [axes, rows] or, of a flow, [axes, control rows
  // of the band, Gx].
  void leave(int64_t example, double* sums, double* weights) const {
    const int64_t of_block = example - block_->example, count = t_.bias.sets * shape_.terms();
    for (int64_t i = 0; i < count; ++i) sums[i] = lane_total(sums_, of_block * count + i);
    if (!to_motion_) return;
    if (!thin_) std::copy(flow_sums_.begin(), flow_sums_.end(), weights);
    const int64_t rows = thin_ ? axes_ * grid_.rows() : 0;
    for (int64_t i = 0; i < rows; ++i) weights[i] = lane_total(weight_sums_, of_block * rows + i);
  }

 private:
  // All that a segment needs, about 50 KB of float32 at degree 12.
  struct Work {
    PowerTable<T> powers[3], slopes[3];
    alignas(64) Segment<T> start, at[3], in_plane, in_row, by_w, forces[3];
    PowerSlopes<T> plane, whole;
  };

  Segment<T>* kernel() { return reinterpret_cast<Segment<T>*>(kernel_.data()); }

  static double lane_total(const Scratch<T>& sums, int64_t i) {
    return total(*reinterpret_cast<const Lanes<T>*>(&sums[size_t(i) * kPack]));
  }

  void evaluate_alone(const T* a, T* field) {
    Work& w = work_[0];
    std::fill_n(field, n_, T(0));
    for (int32_t s = 0; s <= shape_.max_s(); ++s) {
      T* sum = axes_ == 3 ? w.plane.sum : field;
      if (axes_ == 3) std::fill_n(sum, n_, T(0));
      for (int32_t t = 0; t <= shape_.degree - s; ++t)
        add_combined(shape_.degree - s - t + 1, a + shape_.offset(s, t), w.powers[2].p, w.powers[1].p[t], n_, sum);
      if (axes_ == 3) add_product(sum, w.powers[0].p[s], n_, field);
    }
  }

  void evaluate_with_slopes(const T* a, T* field) {
    Work& w = work_[0];
    clear(w.whole);
    std::fill_n(w.by_w, n_, T(0));
    for (int32_t s = 0; s <= shape_.max_s(); ++s) {
      PowerSlopes<T>& to = axes_ == 3 ? w.plane : w.whole;
      if (axes_ == 3) clear(to);
      for (int32_t t = 0; t <= shape_.degree - s; ++t)
        add_combined_slopes(shape_.degree - s - t + 1, a + shape_.offset(s, t), w.powers[2].p, w.slopes[2].p,
                            w.powers[1].p[t], w.slopes[1].p[t], n_, to);
      if (axes_ == 2) continue;
      const T* power = w.powers[0].p[s];
      add_product(to.sum, power, n_, w.whole.sum);
      add_product(to.by_v, power, n_, w.whole.by_v);
      add_product(to.by_u, power, n_, w.whole.by_u);
      add_product(to.sum, w.slopes[0].p[s], n_, w.by_w);
    }
    std::copy_n(w.whole.sum, n_, field);
  }

  void clear(PowerSlopes<T>& rows) const {
    for (T* row : {rows.sum, rows.by_v, rows.by_u}) std::fill_n(row, n_, T(0));
  }

  // --- a coarse flow ---

  // Calls f(control row, weight) for the rows of control points around a row of voxels.
  template <typename F>
  void for_each_flow_row(const F& f) const {
    T tz, ty;
    const int32_t cz = motion_.z().locate(block_->z, tz), cy = motion_.y().locate(segment_.y, ty);
    for (int32_t a = 0; a < (grid_.z == 1 ? 1 : 2); ++a)
      for (int32_t b = 0; b < 2; ++b) f((cz + a) * grid_.y + cy + b, (a ? tz : 1 - tz) * (b ? ty : 1 - ty));
  }

  // Displacement along component d.
  void flow(int32_t d, T* __restrict out) {
    T* line = line_.data();
    std::fill_n(line, grid_.x, T(0));
    for_each_flow_row([&](int32_t row, T weight) {
      const T* from = motion_.of(example_, d) + int64_t(row) * grid_.x;
      for (int32_t k = 0; k < grid_.x; ++k) line[k] += weight * from[k];
    });
    interpolate(line, &cell_[segment_.x], &t_x_[segment_.x], segment_.n, out);
    for (int32_t i = segment_.n; i < n_; ++i) out[i] = T(0);
  }

  // The adjoint of flow(): along the width into a line, then into the rows of control points of this plane.
  void add_flow(int32_t d, const T* force) {
    T* line = line_.data();
    std::fill_n(line, grid_.x, T(0));
    const FlowAxis axis = motion_.x();
    const int32_t end = segment_.x + segment_.n;
    for (int32_t i = segment_.x; i < end;) {
      const int32_t cell = cell_[i], stop = std::min(axis.begin(cell + 1), end);
      T all[4] = {}, after[4] = {};
      for (; i + 4 <= stop; i += 4)
        for (int32_t k = 0; k < 4; ++k) {
          all[k] += force[i - segment_.x + k];
          after[k] += t_x_[i + k] * force[i - segment_.x + k];
        }
      for (; i < stop; ++i) {
        all[0] += force[i - segment_.x];
        after[0] += t_x_[i] * force[i - segment_.x];
      }
      const T sum = (all[0] + all[1]) + (all[2] + all[3]), second = (after[0] + after[1]) + (after[2] + after[3]);
      line[cell] += sum - second;
      line[cell + 1] += second;
    }
    T ty;
    const int32_t row = motion_.y().locate(segment_.y, ty) - band_.first;
    double* to = &flow_sums_[size_t(d * band_.count + row) * grid_.x];
    for (int32_t k = 0; k < grid_.x; ++k) {
      to[k] += double((1 - ty) * line[k]);
      to[grid_.x + k] += double(ty * line[k]);
    }
  }

  const PolynomialTables<T>& t_;
  const Motion<T> motion_;
  const ControlGrid grid_;
  const PolynomialShape shape_;
  const int32_t powers_, axes_;
  const bool to_motion_, thin_;
  const RowBlock* block_ = nullptr;
  RowSegment segment_{};
  int32_t n_ = 0;
  int64_t example_ = 0;
  Scratch<Work> work_;
  Scratch<T> kernel_;                 // [rows of a thin-plate spline, kSegment]
  Scratch<T> sums_, weight_sums_;     // [example of the block, ..., kPack]
  Scratch<T> line_, t_x_;             // [axes, Gx + 1] of a flow; [W]
  std::vector<int32_t> cell_;         // [W]
  FlowBand band_{FlowAxis{1, 1}, 0, 1};
  std::vector<double> flow_sums_;     // [axes, control rows of the band, Gx]
};

// --- blocks -------------------------------------------------------------------------------------------------------

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
