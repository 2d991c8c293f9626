// How a polynomial bias field is cut: blocks of rows, which several examples share, and segments of a row.
#pragma once

#include <algorithm>

#include "cpu/polynomial_bias_field.h"

namespace medadv::cpu {

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

}  // namespace medadv::cpu
