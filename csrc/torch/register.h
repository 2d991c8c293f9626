// Every operator of one backend under its name.
#pragma once

#include "torch/bias_field.h"
#include "torch/dense_energy.h"
#include "torch/gaussian_blur.h"
#include "torch/jacobian.h"
#include "torch/lattice_energy.h"
#include "torch/noise.h"
#include "torch/polynomial_bias_field.h"
#include "torch/row_length.h"
#include "torch/spline_field.h"
#include "torch/spline_jacobian.h"
#include "torch/spline_warp.h"
#include "torch/transform_chain.h"
#include "torch/warp.h"

namespace medadv {

template <typename Backend, typename Library>
void register_operators(Library& m) {
  m.impl("bias_field", TORCH_BOX(&bias_field<Backend>));
  m.impl("bias_field_backward", TORCH_BOX(&bias_field_backward<Backend>));
  m.impl("bias_field_lattice_backward", TORCH_BOX(&bias_field_lattice_backward<Backend>));
  m.impl("polynomial_bias_field", TORCH_BOX(&polynomial_bias_field<Backend>));
  m.impl("polynomial_bias_field_backward", TORCH_BOX(&polynomial_bias_field_backward<Backend>));
  m.impl("polynomial_bias_field_parameters_backward",
         TORCH_BOX(&polynomial_bias_field_parameters_backward<Backend>));
  m.impl("spline_field", TORCH_BOX(&spline_field<Backend>));
  m.impl("spline_field_adjoint", TORCH_BOX(&spline_field_adjoint<Backend>));
  m.impl("spline_derivative", TORCH_BOX(&spline_derivative<Backend>));
  m.impl("spline_derivative_adjoint", TORCH_BOX(&spline_derivative_adjoint<Backend>));
  m.impl("gaussian_blur", TORCH_BOX(&gaussian_blur<Backend>));
  m.impl("gaussian_blur_adjoint", TORCH_BOX(&gaussian_blur_adjoint<Backend>));
  m.impl("bending_energy", TORCH_BOX(&bending_energy<Backend>));
  m.impl("membrane_energy", TORCH_BOX(&membrane_energy<Backend>));
  m.impl("dense_bending_energy", TORCH_BOX(&dense_bending_energy<Backend>));
  m.impl("dense_bending_energy_backward", TORCH_BOX(&dense_bending_energy_backward<Backend>));
  m.impl("dense_membrane_energy", TORCH_BOX(&dense_membrane_energy<Backend>));
  m.impl("dense_membrane_energy_backward", TORCH_BOX(&dense_membrane_energy_backward<Backend>));
  m.impl("dense_total_variation", TORCH_BOX(&dense_total_variation<Backend>));
  m.impl("dense_total_variation_backward", TORCH_BOX(&dense_total_variation_backward<Backend>));
  m.impl("jacobian_determinant", TORCH_BOX(&jacobian_determinant<Backend>));
  m.impl("jacobian_determinant_backward", TORCH_BOX(&jacobian_determinant_backward<Backend>));
  m.impl("folding_penalty", TORCH_BOX(&folding_penalty<Backend>));
  m.impl("folding_penalty_backward", TORCH_BOX(&folding_penalty_backward<Backend>));
  m.impl("spline_jacobian_determinant", TORCH_BOX(&spline_jacobian_determinant<Backend>));
  m.impl("spline_jacobian_determinant_backward", TORCH_BOX(&spline_jacobian_determinant_backward<Backend>));
  m.impl("spline_folding_penalty", TORCH_BOX(&spline_folding_penalty<Backend>));
  m.impl("spline_folding_penalty_gradient", TORCH_BOX(&spline_folding_penalty_gradient<Backend>));
  m.impl("warp", TORCH_BOX(&warp<Backend>));
  m.impl("warp_backward", TORCH_BOX(&warp_backward<Backend>));
  m.impl("warp_displacement_backward", TORCH_BOX(&warp_displacement_backward<Backend>));
  m.impl("warp_adjoint", TORCH_BOX(&warp_adjoint<Backend>));
  m.impl("spline_warp", TORCH_BOX(&spline_warp<Backend>));
  m.impl("spline_warp_backward", TORCH_BOX(&spline_warp_backward<Backend>));
  m.impl("spline_warp_lattice_backward", TORCH_BOX(&spline_warp_lattice_backward<Backend>));
  m.impl("spline_warp_adjoint", TORCH_BOX(&spline_warp_adjoint<Backend>));
  m.impl("add_noise", TORCH_BOX(&add_noise<Backend>));
  m.impl("project_noise", TORCH_BOX(&project_noise<Backend>));
  m.impl("sign_step", TORCH_BOX(&sign_step<Backend>));
  m.impl("unit_step", TORCH_BOX(&unit_step<Backend>));
  m.impl("row_lengths", TORCH_BOX(&row_lengths<Backend>));
  m.impl("unit_rows", TORCH_BOX(&unit_rows<Backend>));
  m.impl("transform_chain", TORCH_BOX(&transform_chain<Backend>));
  m.impl("transform_chain_backward", TORCH_BOX(&transform_chain_backward<Backend>));
}

}  // namespace medadv
