// Every operator of one backend under its name.
#pragma once

#include "torch/bending_energy.h"
#include "torch/bias_field.h"
#include "torch/gaussian_blur.h"
#include "torch/spline_field.h"

namespace medadv {

template <typename Backend, typename Library>
void register_operators(Library& m) {
  m.impl("bias_field", TORCH_BOX(&bias_field<Backend>));
  m.impl("bias_field_backward", TORCH_BOX(&bias_field_backward<Backend>));
  m.impl("bias_field_lattice_backward", TORCH_BOX(&bias_field_lattice_backward<Backend>));
  m.impl("spline_field", TORCH_BOX(&spline_field<Backend>));
  m.impl("spline_field_adjoint", TORCH_BOX(&spline_field_adjoint<Backend>));
  m.impl("gaussian_blur", TORCH_BOX(&gaussian_blur<Backend>));
  m.impl("gaussian_blur_adjoint", TORCH_BOX(&gaussian_blur_adjoint<Backend>));
  m.impl("bending_energy", TORCH_BOX(&bending_energy<Backend>));
}

}  // namespace medadv
