// A polynomial over coordinates that a thin-plate spline or a coarse flow moves, a segment of a row at a time: where
// its voxels move to, the powers of their coordinates, the sum of all terms; and the adjoint of each.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/polynomial_blocks.h"

namespace medadv::cpu {

// Control points of a flow that a band of rows reaches along the height.
struct FlowBand {
  int32_t first, count;

  FlowBand(const FlowAxis& axis, int32_t begin, int32_t end) {
    float unused;
    first = axis.locate(begin, unused);
    count = axis.points == 1 ? 1 : axis.locate(end - 1, unused) + 2 - first;
  }
};

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

}  // namespace medadv::cpu
