// Where the voxels of a row land, sixteen at a time, on processors with AVX-512: its instructions for the floor and for
// what is left of it settle what is far away or NaN, which takes the loop in C++ (warp_rows.cpp) two comparisons and
// three choices an axis. The same bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/tap_gather.h"
#include "cpu/warp_rows.h"

namespace medadv::cpu {

// How many places along an axis the first tap of a voxel may have, so that all of its taps are in the image.
template <Interpolation kind>
uint32_t places(int32_t size) {
  return uint32_t(std::max(0, size - kTaps<kind> + 1));
}

#if MEDADV_CLONES
// WarpRow::locate for linear and cubic interpolation: first, part, furthest and the border.
template <Interpolation kind, int kAxes>
__attribute__((target("arch=x86-64-v4"))) void locate_packs(WarpRow<float>& row) {
  constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  constexpr int32_t before = kind == Interpolation::cubic ? 1 : 0;
  const Sampling& s = row.s;
  const int32_t start[3] = {row.z - before, row.y - before, -before}, size[3] = {s.z, s.y, s.x};
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i furthest = _mm512_setzero_si512();
  int32_t borders = 0;
  for (int32_t i = 0; i < s.x; i += kGatherPack) {
    const __mmask16 voxels = __mmask16(0xffffu >> std::max(0, i + kGatherPack - s.x));
    __mmask16 inside = voxels;
    __m512i first = _mm512_setzero_si512();
    MEDADV_UNROLL
    for (int axis = 3 - kAxes; axis < 3; ++axis) {
      const __m512 d = _mm512_maskz_loadu_ps(voxels, row.d[axis] + i);
      _mm512_storeu_ps(&row.part[size_t(axis) * row.stride + i], _mm512_maskz_reduce_ps(voxels, d, kDown));
      // What does not fit into an integer becomes -2^31: outside of any image.
      __m512i place = _mm512_maskz_cvttps_epi32(voxels, _mm512_maskz_roundscale_ps(voxels, d, kDown));
      place = _mm512_add_epi32(place, _mm512_set1_epi32(start[axis] + (axis == 2 ? i : 0)));
      if (axis == 2) place = _mm512_add_epi32(place, lanes);
      inside = _mm512_mask_cmplt_epu32_mask(inside, place, _mm512_set1_epi32(int32_t(places<kind>(size[axis]))));
      first = _mm512_add_epi32(_mm512_mullo_epi32(first, _mm512_set1_epi32(size[axis])), place);
    }
    first = _mm512_mask_mov_epi32(_mm512_set1_epi32(-1), inside, first);
    _mm512_storeu_si512(&row.first[size_t(i)], first);
    furthest = _mm512_mask_max_epi32(furthest, inside, furthest, first);
    for (uint32_t outside = voxels & ~uint32_t(inside); outside; outside &= outside - 1)
      row.border[size_t(borders++)] = i + __builtin_ctz(outside);
  }
  row.borders = borders;
  int32_t of_lanes[kGatherPack];
  _mm512_storeu_si512(of_lanes, furthest);
  row.furthest = *std::max_element(of_lanes, of_lanes + kGatherPack);
}
#endif

}  // namespace medadv::cpu
