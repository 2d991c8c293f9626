// A block of threads that works in phases: on the GPU, and for tests on the host.
//
// team.each(f) runs f(t) for every thread t and then waits for all of them, so what one phase writes to
// shared memory the next may read. On the host the threads of a phase run one after the other, in an order
// that a seed permutes: a result that depends on the order is a data race.
#pragma once

#include <cstdint>

#include "core/platform.h"

namespace medadv {

#if defined(__CUDACC__)
template <int N>
struct CudaTeam {
  static constexpr int size = N;
  template <typename F>
  __device__ __forceinline__ void each(F f) const {
    f(int(threadIdx.x));
    __syncthreads();
  }
};
#endif

template <int N>
struct HostTeam {
  static constexpr int size = N;  // a power of two, so that every odd stride visits all threads
  uint32_t seed = 0;              // 0: in order
  template <typename F>
  void each(F f) const {
    for (uint32_t i = 0; i < uint32_t(N); ++i) f(int((i * (2 * seed + 1) + seed) % uint32_t(N)));
  }
};

}  // namespace medadv
