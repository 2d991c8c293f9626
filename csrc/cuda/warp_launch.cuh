// What the launches of both warps share.
#pragma once

#include "core/warp_tile.h"
#include "cuda/spline_launch.cuh"

namespace medadv::cuda {

// Gradients to an image are summed by atomics, in no fixed order; nothing where `sum` is null.
template <typename T>
struct AtomicImage {
  T* sum;

  __device__ __forceinline__ void operator()(int64_t at, T share) const {
    if (sum) atomicAdd(sum + at, share);
  }
};

// Storage from sums, row by row.
template <typename T, typename S>
struct Round {
  const T* from;
  S* to;
  int32_t rows, width;

  __device__ __forceinline__ void operator()(unsigned plane, int32_t, int32_t y, int32_t x) const {
    const int64_t at = (int64_t(plane) * rows + y) * width + x;
    to[at] = S(from[at]);
  }
};

// Calls run(sum), which adds the gradient to the images into zeros: theirs, or in float32 for the half types. A null
// grad_image, where none is wanted, makes a null sum.
template <typename T, typename S, typename Run>
cudaError_t sum_images(const Sampling& s, S* grad_image, T* workspace, cudaStream_t stream, const Run& run) {
  if (!grad_image) return run(static_cast<T*>(nullptr));
  const int64_t planes = s.images * s.channels * s.z;
  T* sum = workspace;
  if constexpr (std::is_same_v<T, S>) sum = grad_image;
  if (const cudaError_t error = cudaMemsetAsync(sum, 0, size_t(planes * s.plane()) * sizeof(T), stream);
      error != cudaSuccess)
    return error;
  if (const cudaError_t error = run(sum); error != cudaSuccess) return error;
  if constexpr (std::is_same_v<T, S>) return cudaSuccess;
  else return for_each(Round<T, S>{workspace, grad_image, s.y, s.x}, planes, 1, s.y, s.x, stream);
}

// Calls f(interpolation, axes) with integral constants.
template <typename F>
cudaError_t choose(const Sampling& s, const F& f) {
  using Kind = Interpolation;
  const auto with = [&](auto kind) {
    return s.axes == 3 ? f(kind, std::integral_constant<int, 3>{}) : f(kind, std::integral_constant<int, 2>{});
  };
  if (s.interpolation == Kind::nearest) return with(std::integral_constant<Kind, Kind::nearest>{});
  if (s.interpolation == Kind::linear) return with(std::integral_constant<Kind, Kind::linear>{});
  return with(std::integral_constant<Kind, Kind::cubic>{});
}

}  // namespace medadv::cuda
