// Threads of the NumPy door: started for one call and joined at its end. No pool, so nothing is left behind that a
// fork, such as Python's multiprocessing makes, could deadlock on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#include "python/tensor.h"

namespace medadv::python {

class Threads {
 public:
  explicit Threads(const torch::stable::Tensor& t)
      : limit_(t.call().threads > 0 ? t.call().threads : int64_t(std::thread::hardware_concurrency())) {}

  // As cpu/backend.h asks for: one range per thread, the first one run by the caller.
  template <typename Run>
  void parallel_for(int64_t count, int64_t grain, const Run& run) const {
    if (count <= 0) return;
    const int64_t ranges = std::clamp<int64_t>(count / (kGrains * grain), 1, std::max<int64_t>(1, limit_));
    std::vector<std::exception_ptr> errors(static_cast<size_t>(ranges));
    const auto run_range = [&](int64_t r) {
      try {
        run(count * r / ranges, count * (r + 1) / ranges);
      } catch (...) {
        errors[size_t(r)] = std::current_exception();
      }
    };
    {
      std::vector<std::jthread> started;
      for (int64_t r = 1; r < ranges; ++r) started.emplace_back(run_range, r);
      run_range(0);
    }
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

 private:
  // Starting a thread takes some 20 us; the grain is made for threads that wait already.
  static constexpr int64_t kGrains = 4;

  int64_t limit_;
};

}  // namespace medadv::python
