// The taps of a row's voxels, copied from the image into planes of scratch: one plane per tap, voxels side by side.
//
// Neighbours in a row of a smooth displacement land on near neighbours: sixteen of them in two or three windows of
// sixteen voxels of the image, whichever of its rows those lie in. So a window at a time is loaded and permuted, and
// serves all voxels that land in it; the gather instruction loads every voxel by itself. A rough displacement takes
// more windows, up to one per voxel. Copies, so the same bits whichever way they are made.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/platform.h"
#if MEDADV_CLONES
#include <immintrin.h>
#endif

namespace medadv::cpu {

// Voxels that are looked up together.
inline constexpr int32_t kGatherPack = 16;

// Whether this processor has those instructions.
inline bool has_avx512() {
#if MEDADV_CLONES
  static const bool has = __builtin_cpu_supports("x86-64-v4");
  return has;
#else
  return false;
#endif
}

// Where the taps of a voxel lie: kLines lines of kWidth consecutive voxels. line: of each from the first tap.
// size: voxels from `image` to the end of what may be read.
template <typename S, int kLines, int kWidth>
struct TapLines {
  const S* image;
  int64_t size;
  int32_t line[kLines];

  template <typename T>
  void copy(int32_t first, T* to, int32_t stride) const {
    for (int r = 0; r < kLines; ++r)
      for (int c = 0; c < kWidth; ++c) to[(r * kWidth + c) * stride] = T(image[first + line[r] + c]);
  }
};

// taps[r * kWidth + c][i] = image[first[i] + line[r] + c] for i < n; 0 where first[i] < 0.
template <typename T, typename S, int kLines, int kWidth>
void copy_taps(const TapLines<S, kLines, kWidth>& lines, const int32_t* first, int32_t n, T* taps, int32_t stride) {
  for (int32_t i = 0; i < n; ++i) {
    if (first[i] >= 0) [[likely]] {
      lines.copy(first[i], taps + i, stride);
    } else {
      for (int k = 0; k < kLines * kWidth; ++k) taps[k * stride + i] = T(0);
    }
  }
}

#if MEDADV_CLONES
#define MEDADV_WINDOWS __attribute__((target("arch=x86-64-v4"))) inline

// The taps of a pack, and which of its voxels have them.
template <int kLines, int kWidth>
struct TapPack {
  __m512 tap[kLines][kWidth];

  __attribute__((target("arch=x86-64-v4"))) void store(__mmask16 inside, float* taps, int32_t stride) const {
    MEDADV_UNROLL
    for (int r = 0; r < kLines; ++r)
      MEDADV_UNROLL
      for (int c = 0; c < kWidth; ++c)
        _mm512_storeu_ps(taps + (r * kWidth + c) * stride, _mm512_maskz_mov_ps(inside, tap[r][c]));
  }
};

// A pack whose voxels land within 32 of each other in few rows of the image: no loop, so nothing to foresee. Lines a
// row apart. False, and nothing done, for any other pack.
template <int kLines, int kWidth>
MEDADV_WINDOWS bool gather_rows(const TapLines<float, kLines, kWidth>& lines, const int32_t* first, float* taps,
                                    int32_t stride) {
  constexpr int kMore = kWidth == 2 ? 2 : 1;  // rows beyond the first; a third one pays where taps are few
  const int32_t row = lines.line[1];
  const __m512i at = _mm512_loadu_si512(first), zero = _mm512_setzero_si512(), step = _mm512_set1_epi32(row);
  const __mmask16 inside = _mm512_cmpge_epi32_mask(at, zero);
  if (!inside) [[unlikely]] return false;
  const int32_t some = first[__builtin_ctz(inside)];
  const bool above = _mm512_mask_cmplt_epi32_mask(inside, at, _mm512_set1_epi32(some)) != 0;  // others, in a row above
  const bool far_above = _mm512_mask_cmplt_epi32_mask(inside, at, _mm512_set1_epi32(some - row)) != 0;  // above that
  const int32_t base = some - (int32_t(above) + int32_t(kMore > 1 && far_above)) * row;
  __m512i from = _mm512_sub_epi32(at, _mm512_set1_epi32(base));
  const __mmask16 second = _mm512_cmpgt_epi32_mask(from, _mm512_set1_epi32(31));  // or third
  from = _mm512_mask_sub_epi32(from, second, from, step);
  const __mmask16 third = kMore == 1 ? __mmask16(0) : _mm512_mask_cmpgt_epi32_mask(second, from, _mm512_set1_epi32(31));
  from = _mm512_mask_sub_epi32(from, third, from, step);
  const __mmask16 beyond = _mm512_mask_cmpgt_epu32_mask(inside, from, _mm512_set1_epi32(32 - kWidth));
  if (beyond || base < 0 || base + int64_t(kLines + kMore - 1) * row + 32 > lines.size) [[unlikely]] return false;
  TapPack<kLines, kWidth> pack;
  MEDADV_UNROLL
  for (int r = 0; r < kLines + kMore; ++r) {
    const float* line = lines.image + base + int64_t(r) * row;
    const __m512 low = _mm512_loadu_ps(line), high = _mm512_loadu_ps(line + kGatherPack);
    MEDADV_UNROLL
    for (int c = 0; c < kWidth; ++c) {
      const __m512 taken = _mm512_permutex2var_ps(low, _mm512_add_epi32(from, _mm512_set1_epi32(c)), high);
      if (kMore > 1 && r > 1) pack.tap[r - 2][c] = _mm512_mask_mov_ps(pack.tap[r - 2][c], third, taken);
      if (r > 0 && r <= kLines) pack.tap[r - 1][c] = _mm512_mask_mov_ps(pack.tap[r - 1][c], second, taken);
      if (r < kLines) pack.tap[r][c] = taken;
    }
  }
  pack.store(inside, taps, stride);
  return true;
}

// Any pack, a window of sixteen voxels at a time.
template <int kLines, int kWidth>
MEDADV_WINDOWS void gather_windows(const TapLines<float, kLines, kWidth>& lines, const int32_t* first, float* taps,
                                   int32_t stride) {
  const int64_t last = lines.size - lines.line[kLines - 1] - (kWidth - 1) - kGatherPack;  // window that ends in time
  const __m512i at = _mm512_loadu_si512(first);
  const __m512i before = _mm512_maskz_alignr_epi32(0xffff, at, at, kGatherPack - 1);
  // A run goes on while a voxel lands where the one before it did or one further: so it fits into a window. All
  // of its bounds are known at once: the processor need not wait for one window to foresee the next.
  uint32_t starts = 1 | _mm512_cmpgt_epu32_mask(_mm512_sub_epi32(at, before), _mm512_set1_epi32(1));
  uint32_t late = 0;
  TapPack<kLines, kWidth> pack;
  MEDADV_UNROLL
  for (int r = 0; r < kLines; ++r)
    MEDADV_UNROLL
    for (int c = 0; c < kWidth; ++c) pack.tap[r][c] = _mm512_setzero_ps();
  for (; starts; starts &= starts - 1) {
    const int32_t start = __builtin_ctz(starts), base = std::max(first[start], 0);
    const __mmask16 here = __mmask16(0xffffu << start);  // also what later runs overwrite
    if (base > last) [[unlikely]] {
      late |= here;
      continue;
    }
    late &= ~uint32_t(here);
    const __m512i from = _mm512_sub_epi32(at, _mm512_set1_epi32(base));
    MEDADV_UNROLL
    for (int r = 0; r < kLines; ++r)
      MEDADV_UNROLL
      for (int c = 0; c < kWidth; ++c)
        pack.tap[r][c] = _mm512_mask_permutexvar_ps(pack.tap[r][c], here, from,
                                                    _mm512_loadu_ps(lines.image + base + lines.line[r] + c));
  }
  const __mmask16 inside = _mm512_cmpge_epi32_mask(at, _mm512_setzero_si512());
  pack.store(inside, taps, stride);
  for (late &= inside; late; late &= late - 1) {
    const int32_t k = __builtin_ctz(late);
    lines.copy(first[k], taps + k, stride);
  }
}

// The same as copy_taps. first, and every plane of taps, is readable and writable up to a whole pack.
template <int kLines, int kWidth>
__attribute__((target("arch=x86-64-v4"))) void gather_packs(const TapLines<float, kLines, kWidth> lines,
                                                            const int32_t* first, int32_t n, float* taps,
                                                            int32_t stride) {
  constexpr bool kRows = kLines == kWidth;  // lines a row apart: those of a plane
  for (int32_t i = 0; i < n; i += kGatherPack)
    if (!kRows || !gather_rows(lines, first + i, taps + i, stride))
      gather_windows(lines, first + i, taps + i, stride);
}
#undef MEDADV_WINDOWS
#endif

// Whichever is fastest here.
template <typename T, typename S, int kLines, int kWidth>
void gather_taps(const TapLines<S, kLines, kWidth>& lines, const int32_t* first, int32_t n, T* taps, int32_t stride) {
#if MEDADV_CLONES
  if constexpr (std::is_same_v<S, float>) {
    if (has_avx512()) return gather_packs(lines, first, n, taps, stride);
  }
#endif
  copy_taps(lines, first, n, taps, stride);
}

}  // namespace medadv::cpu
