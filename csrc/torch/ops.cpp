// Schemas of every operator; the kernels register themselves per device.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(medadv, m) {
  m.def("bias_field(Tensor image, Tensor lattice) -> Tensor");
  m.def("bias_field_backward(Tensor grad, Tensor image, Tensor lattice) -> (Tensor, Tensor)");
  m.def("bias_field_lattice_backward(Tensor grad, Tensor out, Tensor lattice) -> Tensor");
  // basis: 0 Legendre, 1 monomials; warp: 0 none, 1 thin-plate spline, 2 flow; weights: [N, axes, rows].
  m.def("polynomial_bias_field(Tensor image, Tensor coefficients, Tensor weights, int[] grid, int degree, int basis,"
        " int warp) -> Tensor");
  m.def("polynomial_bias_field_backward(Tensor grad, Tensor image, Tensor coefficients, Tensor weights, int[] grid,"
        " int degree, int basis, int warp, bool to_weights) -> (Tensor, Tensor, Tensor)");
  m.def("polynomial_bias_field_parameters_backward(Tensor grad, Tensor out, Tensor coefficients, Tensor weights,"
        " int[] grid, int degree, int basis, int warp, bool to_weights) -> (Tensor, Tensor)");
  m.def("spline_field(Tensor lattice, int[] size) -> Tensor");
  m.def("spline_field_adjoint(Tensor grad, int[] knots) -> Tensor");
  m.def("spline_derivative(Tensor lattice, int[] size, int[] derivative, float[] voxel_size) -> Tensor");
  m.def("spline_derivative_adjoint(Tensor grad, int[] knots, int[] derivative, float[] voxel_size) -> Tensor");
  m.def("gaussian_blur(Tensor image, float[] sigma, int padding, float truncate) -> Tensor");
  m.def("gaussian_blur_adjoint(Tensor grad, float[] sigma, int padding, float truncate) -> Tensor");
  m.def("bending_energy(Tensor lattice, float[] spacing) -> (Tensor, Tensor)");
  m.def("membrane_energy(Tensor lattice, float[] spacing) -> (Tensor, Tensor)");
  m.def("dense_bending_energy(Tensor field, float[] voxel_size) -> Tensor");
  m.def("dense_bending_energy_backward(Tensor grad, Tensor field, float[] voxel_size) -> Tensor");
  m.def("dense_membrane_energy(Tensor field, float[] voxel_size) -> Tensor");
  m.def("dense_membrane_energy_backward(Tensor grad, Tensor field, float[] voxel_size) -> Tensor");
  m.def("dense_total_variation(Tensor field, float[] voxel_size) -> Tensor");
  m.def("dense_total_variation_backward(Tensor grad, Tensor field, float[] voxel_size) -> Tensor");
  m.def("jacobian_determinant(Tensor displacement, float[] voxel_size) -> Tensor");
  m.def("jacobian_determinant_backward(Tensor grad, Tensor displacement, float[] voxel_size) -> Tensor");
  m.def("folding_penalty(Tensor displacement, float[] voxel_size, float threshold) -> Tensor");
  m.def("folding_penalty_backward(Tensor grad, Tensor displacement, float[] voxel_size, float threshold) -> Tensor");
  m.def("spline_jacobian_determinant(Tensor lattice, int[] size, float[] voxel_size) -> Tensor");
  m.def("spline_jacobian_determinant_backward(Tensor grad, Tensor lattice, float[] voxel_size) -> Tensor");
  m.def("spline_folding_penalty(Tensor lattice, int[] size, float[] voxel_size, float threshold) -> Tensor");
  m.def("spline_folding_penalty_gradient(Tensor lattice, int[] size, float[] voxel_size, float threshold)"
        " -> (Tensor, Tensor)");
  // interpolation: 0 nearest, 1 linear, 2 cubic; padding: 0 zeros, 1 border, 2 reflection.
  m.def("warp(Tensor image, Tensor displacement, int interpolation, int padding) -> Tensor");
  m.def("warp_backward(Tensor grad, Tensor image, Tensor displacement, int interpolation, int padding)"
        " -> (Tensor, Tensor)");
  m.def("warp_displacement_backward(Tensor grad, Tensor image, Tensor displacement, int interpolation, int padding)"
        " -> Tensor");
  m.def("warp_adjoint(Tensor grad, Tensor displacement, int interpolation, int padding) -> Tensor");
  m.def("spline_warp(Tensor image, Tensor lattice, int interpolation, int padding) -> Tensor");
  m.def("spline_warp_backward(Tensor grad, Tensor image, Tensor lattice, int interpolation, int padding)"
        " -> (Tensor, Tensor)");
  m.def("spline_warp_lattice_backward(Tensor grad, Tensor image, Tensor lattice, int interpolation, int padding)"
        " -> Tensor");
  m.def("spline_warp_adjoint(Tensor grad, Tensor lattice, int interpolation, int padding) -> Tensor");
  // norm: 0 linf, 1 l1, 2 l2.
  m.def("add_noise(Tensor image, Tensor noise, Tensor? towards, float low, float high) -> Tensor");
  m.def("project_noise(Tensor image, Tensor noise, float low, float high, float radius, int norm) -> Tensor");
  m.def("sign_step(Tensor image, Tensor noise, Tensor gradient, float length, float low, float high, float radius)"
        " -> (Tensor, Tensor)");
  // radius: [N] float64.
  m.def("unit_step(Tensor image, Tensor noise, Tensor gradient, float length, float low, float high, Tensor radius,"
        " int norm) -> Tensor");
  m.def("row_lengths(Tensor values, Tensor? origin, int norm) -> Tensor");
  m.def("unit_rows(Tensor values, int norm) -> Tensor");
  // bounds: [] or [low, high]. wanted: sum of 1, 2, 4, 8 for gradients to image, displacement, log_gain, noise; what is
  // not wanted comes back empty.
  m.def("transform_chain(Tensor image, Tensor? displacement, Tensor? log_gain, Tensor? noise, float[] bounds,"
        " float origin, int interpolation, int padding) -> Tensor");
  m.def("transform_chain_backward(Tensor grad, Tensor image, Tensor? displacement, Tensor? log_gain, Tensor? noise,"
        " float[] bounds, float origin, int interpolation, int padding, int wanted)"
        " -> (Tensor, Tensor, Tensor, Tensor)");
}
