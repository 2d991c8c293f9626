// A polynomial over coordinates that stay as they are: the height and the depth are summed once per row, so that a
// voxel sees a polynomial of the width alone. Its adjoint walks back the same way.
#pragma once

#include "cpu/polynomial_blocks.h"

namespace medadv::cpu {

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

}  // namespace medadv::cpu
