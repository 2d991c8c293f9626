// Lengths of rows on the CPU, and rows scaled by them. A block is a piece of one row: pieces are summed in lanes, and
// the pieces of a row in order, so that a length depends on the row alone.
#pragma once

#include <algorithm>
#include <vector>

#include "core/row_length.h"

namespace medadv::cpu {

inline constexpr int64_t kRowPiece = 1 << 13;

struct RowPieces {
  int64_t rows, entries, pieces;  // pieces: of a row

  RowPieces(int64_t n, int64_t count) : rows(n), entries(count), pieces((count + kRowPiece - 1) / kRowPiece) {}

  int64_t blocks() const { return rows * pieces; }

  // Calls f(row, begin, count) with where a block begins, in entries of all rows, and how many it has.
  template <typename F>
  void with_block(int64_t block, const F& f) const {
    const int64_t row = block / pieces, at = (block - row * pieces) * kRowPiece;
    f(row, row * entries + at, std::min(kRowPiece, entries - at));
  }
};

// origin: what the rows are measured from, or null.
template <typename S, RowNorm kNorm>
class RowLengths {
 public:
  RowLengths(const RowPieces& pieces, const S* x, const S* origin)
      : pieces_(pieces), x_(x), origin_(origin), parts_(size_t(pieces.blocks())) {}

  int64_t blocks() const { return pieces_.blocks(); }
  void run(int64_t first, int64_t last);
  // Writes the length of every row.
  void gather(double* lengths) const;

 private:
  RowPieces pieces_;
  const S *x_, *origin_;
  std::vector<typename RowPart<kNorm>::Type> parts_;  // of every block
};

// Rows times what `factor` makes of their length; x and out may be the same.
template <typename S, typename Factor>
class ScaledRows {
 public:
  ScaledRows(const RowPieces& pieces, const double* lengths, const Factor& factor, const S* x, S* out)
      : pieces_(pieces), lengths_(lengths), factor_(factor), x_(x), out_(out) {}

  int64_t blocks() const { return pieces_.blocks(); }
  void run(int64_t first, int64_t last) const;

 private:
  RowPieces pieces_;
  const double* lengths_;
  Factor factor_;
  const S* x_;
  S* out_;
};

}  // namespace medadv::cpu
