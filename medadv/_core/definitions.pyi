"""The operators as plain loops over NumPy arrays, see csrc/python/definitions.h."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

def spline_field(lattice: Array, size: Sequence[int]) -> Array: ...
def spline_field_adjoint(grad: Array, knots: Sequence[int]) -> Array: ...
def spline_derivative(
    lattice: Array, size: Sequence[int], derivative: Sequence[int], voxel_size: Sequence[float]
) -> Array: ...
def spline_derivative_adjoint(
    grad: Array, knots: Sequence[int], derivative: Sequence[int], voxel_size: Sequence[float]
) -> Array: ...
def spline_jacobian_determinant(lattice: Array, size: Sequence[int], voxel_size: Sequence[float]) -> Array: ...
def spline_jacobian_determinant_backward(grad: Array, lattice: Array, voxel_size: Sequence[float]) -> Array: ...
def spline_folding_penalty(
    lattice: Array, size: Sequence[int], voxel_size: Sequence[float], threshold: float
) -> tuple[float, Array]: ...
def bias_field(image: Array, lattice: Array) -> Array: ...
def polynomial_bias_field(
    image: Array, coefficients: Array, weights: Array, grid: Sequence[int], degree: int, basis: int, warp: int
) -> Array: ...
def polynomial_bias_field_backward(
    grad: Array,
    out: Array,
    coefficients: Array,
    weights: Array,
    grid: Sequence[int],
    degree: int,
    basis: int,
    warp: int,
) -> tuple[Array, Array]: ...
def tiled_polynomial_bias_field(
    image: Array,
    coefficients: Array,
    weights: Array,
    grid: Sequence[int],
    degree: int,
    basis: int,
    warp: int,
    seed: int = 0,
) -> Array: ...
def tiled_polynomial_bias_field_backward(
    grad: Array,
    out: Array,
    coefficients: Array,
    weights: Array,
    grid: Sequence[int],
    degree: int,
    basis: int,
    warp: int,
    seed: int = 0,
) -> tuple[Array, Array]: ...
def log_positive(values: NDArray[np.float32]) -> NDArray[np.float32]: ...
def bending_gradient(lattice: Array, spacing: Sequence[float]) -> Array: ...
def membrane_gradient(lattice: Array, spacing: Sequence[float]) -> Array: ...
def dense_bending_energy(field: Array, voxel_size: Sequence[float]) -> tuple[float, Array]: ...
def dense_membrane_energy(field: Array, voxel_size: Sequence[float]) -> tuple[float, Array]: ...
def dense_total_variation(field: Array, voxel_size: Sequence[float]) -> tuple[float, Array]: ...
def jacobian_determinant(displacement: Array, voxel_size: Sequence[float]) -> Array: ...
def jacobian_determinant_backward(grad: Array, displacement: Array, voxel_size: Sequence[float]) -> Array: ...
def folding_penalty(displacement: Array, voxel_size: Sequence[float], threshold: float) -> tuple[float, Array]: ...
def gaussian_blur(
    image: Array, sigma: float, axis: int, padding: int, truncate: float, adjoint: bool = False
) -> Array: ...
def gather_taps(
    image: NDArray[np.float32], first: NDArray[np.int32], line: list[int], width: int, fastest: bool
) -> NDArray[np.float32]: ...
def warp(image: Array, displacement: Array, interpolation: int, padding: int) -> Array: ...
def warp_gradients(
    grad: Array, image: Array, displacement: Array, interpolation: int, padding: int
) -> tuple[Array, Array]: ...
def tiled_bias_field(
    image: NDArray[np.floating], lattice: NDArray[np.floating], seed: int = 0
) -> NDArray[np.floating]: ...
def tiled_bias_field_backward(
    grad: NDArray[np.floating], image: NDArray[np.floating], lattice: NDArray[np.floating], seed: int = 0
) -> tuple[NDArray[np.floating], NDArray[np.floating]]: ...
def tiled_spline_warp(
    image: NDArray[np.floating], lattice: NDArray[np.floating], interpolation: int, padding: int, seed: int = 0
) -> NDArray[np.floating]: ...
def transform_chain(
    image: Array,
    displacement: Array | None,
    log_gain: Array | None,
    noise: Array | None,
    bounds: Sequence[float],
    origin: float,
    interpolation: int,
    padding: int,
) -> Array: ...
def transform_chain_gradients(
    grad: Array,
    image: Array,
    displacement: Array | None,
    log_gain: Array | None,
    noise: Array | None,
    bounds: Sequence[float],
    origin: float,
    interpolation: int,
    padding: int,
) -> tuple[Array, Array | None, Array | None, Array | None]: ...
def tiled_transform_chain(
    image: NDArray[np.floating],
    displacement: NDArray[np.floating] | None,
    log_gain: NDArray[np.floating] | None,
    noise: NDArray[np.floating] | None,
    bounds: Sequence[float],
    origin: float,
    interpolation: int,
    padding: int,
    seed: int = 0,
) -> NDArray[np.floating]: ...
def tiled_transform_chain_gradients(
    grad: NDArray[np.floating],
    image: NDArray[np.floating],
    displacement: NDArray[np.floating] | None,
    log_gain: NDArray[np.floating] | None,
    noise: NDArray[np.floating] | None,
    bounds: Sequence[float],
    origin: float,
    interpolation: int,
    padding: int,
    seed: int = 0,
) -> tuple[
    NDArray[np.floating], NDArray[np.floating] | None, NDArray[np.floating] | None, NDArray[np.floating] | None
]: ...
def tiled_spline_derivative(
    lattice: NDArray[np.floating],
    size: Sequence[int],
    derivative: Sequence[int],
    voxel_size: Sequence[float],
    seed: int = 0,
) -> NDArray[np.floating]: ...
def tiled_spline_derivative_adjoint(
    grad: NDArray[np.floating],
    knots: Sequence[int],
    derivative: Sequence[int],
    voxel_size: Sequence[float],
    seed: int = 0,
) -> NDArray[np.floating]: ...
def tiled_spline_jacobian(
    lattice: NDArray[np.floating],
    grad: NDArray[np.floating],
    voxel_size: Sequence[float],
    threshold: float,
    axis: int,
    seed: int = 0,
) -> tuple[NDArray[np.floating], NDArray[np.floating], Array, NDArray[np.floating]]: ...
