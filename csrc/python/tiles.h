// How the tiles of the CUDA kernels run on the host: threads of a phase in an order that a seed permutes, and shared
// memory that starts as NaN: what depends on the order, or is read before it is written, shows.
#pragma once

#include <cstring>
#include <memory>

#include "core/spline_tile.h"
#include "python/arrays.h"

namespace medadv {

template <typename T>
using Images = py::array_t<T, py::array::c_style>;  // [C, *S], and lattices [K, *G]

template <typename Memory>
std::unique_ptr<Memory> undefined_memory() {
  auto memory = std::make_unique<Memory>();
  std::memset(static_cast<void*>(memory.get()), 0xff, sizeof(Memory));
  return memory;
}

// What is not written shows, too.
template <typename T>
Images<T> undefined_images(const std::vector<int64_t>& shape) {
  Images<T> images(shape);
  std::memset(images.mutable_data(), 0xff, size_t(images.nbytes()));
  return images;
}

template <typename T, typename F>
void for_each_tile(const Tiling<T>& tiling, int64_t planes, F f) {
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int32_t y = 0; y < tiling.y; ++y)
      for (int32_t x = 0; x < tiling.x; ++x) f(TileIndex{plane, y, x});
}

}  // namespace medadv
