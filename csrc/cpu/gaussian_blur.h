// The Gaussian blur on the CPU, and its adjoint. The caller hands out ranges of blocks.
//
// All axes in one pass over the image, in cache: a block is a band of rows in a few neighbouring planes. It is
// blurred along the depth into scratch (the rows that the height needs with it), then row group by row group
// along the height, and each row along the width on its way out. No tensor in between.
//
// Along depth and height a blur is a banded matrix of lines, padding included; so is its adjoint, with another
// matrix. Along the width a row is extended by its padding (or, for the adjoint, the result folded).
#pragma once

#include <array>
#include <vector>

#include "core/gaussian_blur.h"

namespace medadv::cpu {

inline constexpr int32_t kBlurLines = 4;  // lines of output that share what is read
inline constexpr int64_t kBlurScratch = 1 << 17;  // numbers of depth-blurred scratch, about

// Rows of a banded matrix: line i is the sum over j of w[i][j] times line i - reach + j.
template <typename T>
struct BlurBand {
  int32_t n = 0, reach = 0;  // reach 0: the identity
  std::vector<T> w;          // [n + kBlurLines - 1, 2 reach + 1], zeros past the n-th row

  const T* row(int32_t i) const { return &w[size_t(i) * (2 * reach + 1)]; }
};

// The kernel along a row, and the voxel that stands at every position around it (-1: none).
template <typename T>
struct BlurRow {
  int32_t n = 0, radius = 0;  // radius 0: the identity
  std::vector<T> w;           // [2 radius + 1]
  std::vector<int32_t> left, right;
};

template <typename T, typename S>
class GaussianBlur {
 public:
  // sigma: of depth, height, width; 0 leaves an axis as it is.
  GaussianBlur(const Volume& size, int64_t channels, const double sigma[3], BlurPadding padding, double truncate,
               bool adjoint, const S* in, S* out);

  int64_t blocks() const { return channels_ * groups_ * bands_; }
  void run(int64_t first, int64_t last) const;

 private:
  struct Scratch;
  void run_block(int64_t block, Scratch& scratch) const;
  template <typename In>
  void blur_rows(const In* plane, int32_t first_row, int32_t begin, int32_t end, S* out, Scratch& scratch) const;

  Volume size_;
  int64_t channels_;
  bool adjoint_;
  BlurBand<T> z_, y_;
  BlurRow<T> x_;
  int64_t groups_, bands_;  // of planes and of rows
  int32_t band_rows_;
  std::vector<S> zeros_;    // a line outside the image
  const S* in_;
  S* out_;
};

}  // namespace medadv::cpu
