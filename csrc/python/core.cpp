// The torch-free core as a Python module: what this build is, the definitions of its operators, and
// those operators over NumPy arrays.
#include <string>

#include "core/platform.h"
#include "python/definitions.h"
#include "python/operators.h"

namespace medadv {
namespace {

// The clone of the hot loops that the loader picks on this machine.
std::string instruction_set() {
#if MEDADV_CLONES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4 (AVX-512)";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3 (AVX2, FMA)";
#endif
  return "baseline";
}

}  // namespace

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "What this build of medadv is.";
  m.def("instruction_set", &instruction_set, "Which clone of the CPU kernels runs on this machine.");
  m.attr("compiler") = MEDADV_COMPILER;
  m.attr("cuda_version") = MEDADV_CUDA_VERSION;
  m.attr("cuda_architectures") = MEDADV_CUDA_ARCHITECTURES;

  auto definitions = m.def_submodule("definitions", "The operators as plain loops over float64 NumPy arrays.");
  define_polynomials(definitions);
  define_splines(definitions);
  define_spline_jacobians(definitions);
  define_dense_fields(definitions);
  define_warps(definitions);
  define_tiles(definitions);
  define_chains(definitions);

  auto operators = m.def_submodule("operators", "The operators over NumPy arrays; medadv.numpy is their door.");
  define_operators(operators);
}

}  // namespace medadv
