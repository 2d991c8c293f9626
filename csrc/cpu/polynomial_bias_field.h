// The polynomial bias field on the CPU, and its gradients. The caller hands out ranges of blocks.
//
// A block is a band of rows in one plane, walked segment by segment (cpu/polynomial_rows.h). Where the coordinates stay
// as they are the polynomial is separable: a plane's coefficients are summed over depth, a row's over height, and what
// is left along the width takes degree + 1 multiply-adds a voxel, from powers tabulated once per call. Where they move,
// the powers are tabulated per segment, after its displacement. Backwards the same sums run in reverse. The kernel of a
// thin-plate spline depends on the voxel alone, so a block takes several examples at a time and shares it.
//
// Every block leaves partial sums in float64, which one owner per example gathers: the same bits for any number of
// threads, and for any batch.
#pragma once

#include <vector>

#include "core/polynomial_bias_field.h"
#include "cpu/bands.h"
#include "cpu/polynomial_rows.h"

namespace medadv::cpu {

// What depends on the geometry and the coefficients alone, tabulated once per call and shared by all threads.
template <typename T>
class PolynomialTables {
 public:
  const PolynomialBias<T> bias;
  const Bands bands;
  const bool still;
  Scratch<PowerTable<T>> x;                  // of every segment of a row; of a still field
  Scratch<T> y, z;                           // [H or D, kPack] powers of every row and plane
  std::vector<T> a;                          // [examples * sets, terms], of the monic terms

  template <typename S>
  PolynomialTables(const PolynomialBias<T>& b, const S* coefficients);

  const T* coefficients(int64_t example, int64_t set) const {
    return &a[size_t((example * bias.sets + set) * bias.shape.terms())];
  }

  int64_t examples_per_block() const { return bias.motion.warp == CoordinateWarp::thin_plate ? 8 : 1; }
  int64_t groups() const { return (bias.examples + examples_per_block() - 1) / examples_per_block(); }
  int64_t blocks() const { return bands.blocks(groups()); }

  int64_t blocks_per_example() const { return bands.blocks(1); }
};

template <typename T, typename S>
class PolynomialBiasField {
 public:
  PolynomialBiasField(const PolynomialBias<T>& bias, const S* image, const S* coefficients, S* out)
      : tables_(bias, coefficients), image_(image), out_(out) {}

  int64_t blocks() const { return tables_.blocks(); }
  void run(int64_t first, int64_t last) const;

 private:
  PolynomialTables<T> tables_;
  const S* image_;
  S* out_;
};

// Gradients to the coefficients and, where grad_weights is not null, to the weights of the motion. Where grad_image is
// not null, `image` is the image, and its gradient is written in the same pass; else it is the output, from which the
// forces follow without an exponential.
template <typename T, typename S>
class PolynomialBiasFieldBackward {
 public:
  PolynomialBiasFieldBackward(const PolynomialBias<T>& bias, const S* grad, const S* image, const S* coefficients,
                              S* grad_image, S* grad_coefficients, T* grad_weights);

  int64_t blocks() const { return tables_.blocks(); }
  void run(int64_t first, int64_t last);
  int64_t planes() const { return tables_.bias.examples; }
  void gather(int64_t first, int64_t last) const;

 private:
  PolynomialTables<T> tables_;
  const S *grad_, *image_;
  S *grad_image_, *grad_coefficients_;
  T* grad_weights_;
  int64_t sums_, weight_sums_;                   // of one block and example
  std::vector<double> partial_, weight_partial_;  // [example, block, sums_]

  void gather_coefficients(int64_t example) const;
  void gather_weights(int64_t example) const;
};

}  // namespace medadv::cpu
