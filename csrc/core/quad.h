// Four neighbouring voxels at a time: one vector load or store where rows are aligned, else one by one.
#pragma once

#include <cstdint>

#include "core/platform.h"

namespace medadv {

template <typename S>
struct alignas(4 * sizeof(S)) Quad {
  S v[4];
};

// n of 4 voxels exist; `aligned`: every quad of the image starts at a multiple of its size.
template <typename T, typename S>
MEDADV_HD void load_quad(const S* from, int32_t n, bool aligned, T to[4]) {
  if (aligned && n == 4) {
    const Quad<S> q = *reinterpret_cast<const Quad<S>*>(from);
    for (int i = 0; i < 4; ++i) to[i] = T(q.v[i]);
  } else {
    for (int i = 0; i < 4; ++i) to[i] = i < n ? T(from[i]) : T(0);
  }
}

template <typename T, typename S>
MEDADV_HD void store_quad(S* to, int32_t n, bool aligned, const T from[4]) {
  if (aligned && n == 4) {
    Quad<S> q;
    for (int i = 0; i < 4; ++i) q.v[i] = S(from[i]);
    *reinterpret_cast<Quad<S>*>(to) = q;
  } else {
    for (int i = 0; i < 4; ++i)
      if (i < n) to[i] = S(from[i]);
  }
}

// Whether every quad of every one of these images, whose rows have `width` voxels, is aligned.
template <typename... S>
bool quads_aligned(int32_t width, const S*... images) {
  return width % 4 == 0 && ((reinterpret_cast<uintptr_t>(images) % (4 * sizeof(S)) == 0) && ...);
}

}  // namespace medadv
