// The CPU backend over tensors: ranges of blocks handed to torch's own threads.
#include "cpu/backend.h"
#include "torch/register.h"

namespace medadv {
namespace {

struct TorchThreads {
  explicit TorchThreads(const Tensor&) {}

  template <typename Run>
  void parallel_for(int64_t count, int64_t grain, const Run& run) const {
    torch::stable::parallel_for(0, count, grain, run);
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(medadv, CPU, m) { register_operators<cpu::Backend<TorchThreads>>(m); }

}  // namespace medadv
