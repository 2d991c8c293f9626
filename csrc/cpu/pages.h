// Large pages for memory that is about to be written for the first time.
//
// The system hands fresh memory out by the page, filled with zeros. At 4 KB a page that costs several times what a
// kernel takes to write it (39 MB: 18 ms against 2); at 2 MB a page, most of it is gone.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace medadv::cpu {

// Outputs shorter than this may not hold one whole large page.
inline constexpr std::size_t kLargePagesFrom = std::size_t(4) << 20;

// A request, of no effect on what memory holds, nor beyond its ends. It is refused where large pages are switched off
// for the system or the process, and then nothing changes.
inline void prefer_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes < kLargePagesFrom) return;
  const std::uintptr_t page = std::uintptr_t(sysconf(_SC_PAGESIZE)), at = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (at + page - 1) / page * page, end = (at + bytes) / page * page;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace medadv::cpu
