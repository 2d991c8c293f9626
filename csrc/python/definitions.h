// The operators as core/ defines them, voxel by voxel, in float64 and over NumPy arrays: what tests compare every
// faster path with. Each file of definitions adds its functions to the module `medadv._core.definitions`.
#pragma once

#include <pybind11/pybind11.h>

namespace medadv {

void define_polynomials(pybind11::module_& m);
void define_splines(pybind11::module_& m);
void define_spline_jacobians(pybind11::module_& m);
void define_dense_fields(pybind11::module_& m);
void define_warps(pybind11::module_& m);
void define_tiles(pybind11::module_& m);
void define_chains(pybind11::module_& m);

}  // namespace medadv
