"""The operators over NumPy arrays, see csrc/python/operators.cpp; medadv.numpy is their door."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Numbers: TypeAlias = Sequence[float]
Energy: TypeAlias = NDArray[np.float64]

def bias_field(image: Array, lattice: Array, *, out: Array | None = None, threads: int = 0) -> Array: ...
def polynomial_bias_field(
    image: Array,
    coefficients: Array,
    weights: Array,
    grid: Sequence[int],
    degree: int,
    basis: int,
    warp: int,
    *,
    out: Array | None = None,
    threads: int = 0,
) -> Array: ...
def spline_field(lattice: Array, size: Sequence[int], *, out: Array | None = None, threads: int = 0) -> Array: ...
def spline_derivative(
    lattice: Array,
    size: Sequence[int],
    derivative: Sequence[int],
    voxel_size: Numbers,
    *,
    out: Array | None = None,
    threads: int = 0,
) -> Array: ...
def spline_warp(
    image: Array, lattice: Array, interpolation: int, padding: int, *, out: Array | None = None, threads: int = 0
) -> Array: ...
def warp(
    image: Array, displacement: Array, interpolation: int, padding: int, *, out: Array | None = None, threads: int = 0
) -> Array: ...
def compose(
    outer: Array, inner: Array, interpolation: int, padding: int, *, out: Array | None = None, threads: int = 0
) -> Array: ...
def transform_chain(
    image: Array,
    displacement: Array | None,
    log_gain: Array | None,
    noise: Array | None,
    bounds: Numbers,
    origin: float,
    interpolation: int,
    padding: int,
    *,
    out: Array | None = None,
    threads: int = 0,
) -> Array: ...
def gaussian_blur(
    image: Array, sigma: Numbers, padding: int, truncate: float, *, out: Array | None = None, threads: int = 0
) -> Array: ...
def add_noise(
    image: Array,
    noise: Array,
    towards: Array | None,
    low: float,
    high: float,
    *,
    out: Array | None = None,
    threads: int = 0,
) -> Array: ...
def project_noise(
    image: Array,
    noise: Array,
    low: float,
    high: float,
    radius: float,
    norm: int,
    *,
    out: Array | None = None,
    threads: int = 0,
) -> Array: ...
def sign_step(
    image: Array,
    noise: Array,
    gradient: Array,
    length: float,
    low: float,
    high: float,
    radius: float,
    *,
    out: Array | None = None,
    threads: int = 0,
) -> tuple[Array, Array]: ...
def unit_step(
    image: Array,
    noise: Array,
    gradient: Array,
    length: float,
    low: float,
    high: float,
    radius: Array,
    norm: int,
    *,
    out: Array | None = None,
    threads: int = 0,
) -> Array: ...
def row_lengths(
    values: Array, origin: Array | None, norm: int, *, out: None = None, threads: int = 0
) -> NDArray[np.float64]: ...
def unit_rows(values: Array, norm: int, *, out: Array | None = None, threads: int = 0) -> Array: ...
def bending_energy(lattice: Array, spacing: Numbers, *, out: None = None, threads: int = 0) -> tuple[Energy, Array]: ...
def membrane_energy(
    lattice: Array, spacing: Numbers, *, out: None = None, threads: int = 0
) -> tuple[Energy, Array]: ...
def dense_bending_energy(field: Array, voxel_size: Numbers, *, out: None = None, threads: int = 0) -> Energy: ...
def dense_membrane_energy(field: Array, voxel_size: Numbers, *, out: None = None, threads: int = 0) -> Energy: ...
def dense_total_variation(field: Array, voxel_size: Numbers, *, out: None = None, threads: int = 0) -> Energy: ...
def jacobian_determinant(
    displacement: Array, voxel_size: Numbers, *, out: Array | None = None, threads: int = 0
) -> Array: ...
def folding_penalty(
    displacement: Array, voxel_size: Numbers, threshold: float, *, out: None = None, threads: int = 0
) -> Energy: ...
def spline_jacobian_determinant(
    lattice: Array, size: Sequence[int], voxel_size: Numbers, *, out: Array | None = None, threads: int = 0
) -> Array: ...
def spline_folding_penalty(
    lattice: Array, size: Sequence[int], voxel_size: Numbers, threshold: float, *, out: None = None, threads: int = 0
) -> Energy: ...
