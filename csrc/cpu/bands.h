// How the rows of images are cut into blocks: bands of rows of one plane. Blocks are the unit of threading and of
// summation, and depend on the geometry alone: so do the bits of every result.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/volume.h"
#include "cpu/spline_rows.h"

namespace medadv::cpu {

// Asks for the memory of a row, to read or to write. Rows a plane apart are too many streams for the processor to
// foresee, and it foresees no writes: a volume that is not in cache is read twice as fast, a field that is in cache
// gets its gradient 1.5 times as fast.
template <bool kWrite = false>
void fetch([[maybe_unused]] const void* row, [[maybe_unused]] int64_t bytes) {
#if defined(__GNUC__)
  constexpr int64_t kLine = 64;
  for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(static_cast<const char*>(row) + at, kWrite);
#endif
}

// The same for what a walk along rows comes to after this one.
template <bool kWrite = false, typename S>
void fetch_ahead(const S* row, int32_t width) {
  constexpr int64_t kDistance = 4096;  // bytes
  fetch<kWrite>(reinterpret_cast<const char*>(row) + kDistance, int64_t(sizeof(S)) * width);
}
template <typename S>
void fetch_ahead_to_write(const S* row, int32_t width) {
  fetch_ahead<true>(row, width);
}

struct Bands {
  Volume size;
  int32_t rows;   // of a block
  int64_t bands;  // of a plane

  explicit Bands(const Volume& volume)
      : size(volume), rows(int32_t(std::clamp<int64_t>(kBandVoxels / std::max(1, size.x), 1, std::max(1, size.y)))),
        bands((size.y + rows - 1) / rows) {}

  int64_t blocks(int64_t images) const { return images * size.z * bands; }

  // Calls row(image, z, y) for the rows of a block.
  template <typename Row>
  void for_each_row(int64_t block, const Row& row) const {
    const int64_t plane = block / bands, image = plane / size.z;
    const int32_t z = int32_t(plane - image * size.z);
    const int32_t begin = int32_t(block % bands) * rows, end = std::min(begin + rows, size.y);
    for (int32_t y = begin; y < end; ++y) row(image, z, y);
  }
};

// Sums over the voxels of every image: per column of a block, then columns and blocks in float64 and in order.
template <typename T>
class BlockSums {
 public:
  // width: of the columns that terms are summed in.
  BlockSums(const Bands& bands, int32_t width, int64_t images)
      : bands_(bands), width_(width), partial_(bands.blocks(images)) {}

  // add_block(block, sum) adds the terms of its rows to sum[0 ... width - 1].
  template <typename AddBlock>
  void run(int64_t first, int64_t last, const AddBlock& add_block) {
    Scratch<T> column(width_);
    for (int64_t block = first; block < last; ++block) {
      std::fill(column.begin(), column.end(), T(0));
      add_block(block, column.data());
      partial_[block] = std::accumulate(column.begin(), column.end(), 0.0);
    }
  }

  int64_t blocks() const { return int64_t(partial_.size()); }

  double total(int64_t image) const {
    const int64_t count = bands_.blocks(1);
    return std::accumulate(partial_.begin() + image * count, partial_.begin() + (image + 1) * count, 0.0);
  }

 private:
  Bands bands_;
  int32_t width_;
  std::vector<double> partial_;  // of every block
};

}  // namespace medadv::cpu
