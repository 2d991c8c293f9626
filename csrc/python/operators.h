// The operators over NumPy arrays, by the kernels of cpu/ and without torch: the module `medadv._core.operators`.
#pragma once

#include <pybind11/pybind11.h>

namespace medadv {

void define_operators(pybind11::module_& m);

}  // namespace medadv
