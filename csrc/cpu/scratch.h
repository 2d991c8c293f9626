// Memory for one thread's intermediate rows, aligned to cache lines: a vector that straddles two costs twice.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace medadv::cpu {

template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  CacheLineAllocator() = default;
  template <typename U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}

  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kLine)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, kLine); }

  friend bool operator==(const CacheLineAllocator&, const CacheLineAllocator&) { return true; }
};

template <typename T>
using Scratch = std::vector<T, CacheLineAllocator<T>>;

}  // namespace medadv::cpu
