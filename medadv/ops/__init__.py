"""Fused, differentiable operations on medical images, usable without the rest of medadv.

Images are ``[N, C, (D,) H, W]``, lattices of B-spline control points ``[N, K, (Gz,) Gy, Gx]``; axes in torch's order.
Every operator runs on CPU and CUDA, and works under autograd, vmap, autocast and torch.compile.
"""

from medadv._lattice import lattice_shape
from medadv._polynomial import polynomial_terms
from medadv.ops._build import build_info
from medadv.ops.bias_field import bias_field
from medadv.ops.compose import compose, exponentiate
from medadv.ops.energies import bending_energy, membrane_energy, total_variation
from medadv.ops.gaussian_blur import gaussian_blur
from medadv.ops.jacobian import folding_penalty, jacobian_determinant
from medadv.ops.noise import add_noise, project_noise, sign_step, unit_step
from medadv.ops.polynomial_bias_field import polynomial_bias_field
from medadv.ops.row_length import row_lengths, unit_rows
from medadv.ops.spline_field import spline_field
from medadv.ops.spline_warp import spline_warp
from medadv.ops.transform_chain import transform_chain
from medadv.ops.warp import warp

__all__ = [
    "add_noise",
    "bending_energy",
    "bias_field",
    "build_info",
    "compose",
    "exponentiate",
    "folding_penalty",
    "gaussian_blur",
    "jacobian_determinant",
    "lattice_shape",
    "membrane_energy",
    "polynomial_bias_field",
    "polynomial_terms",
    "project_noise",
    "row_lengths",
    "sign_step",
    "spline_field",
    "spline_warp",
    "total_variation",
    "transform_chain",
    "unit_rows",
    "unit_step",
    "warp",
]
