"""Weights of thin-plate splines through the points of a regular grid, see csrc/core/thin_plate_spline.h.

The linear system depends on the shape of the grid alone: it is solved once, in float64, and the weights of a spline are
then a small matrix product of the values at its control points.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


@functools.lru_cache(maxsize=64)
def solution(grid: tuple[int, ...]) -> NDArray[np.float64]:
    """``[points + 1 + axes, points]``: weights of the spline through given values at the points; not to be written to.

    Example:
        >>> solution((2, 2)).shape
        (7, 4)
    """
    axes = [np.linspace(-1.0, 1.0, n) for n in grid]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(grid))
    square = np.square(points[:, None] - points[None]).sum(-1)
    kernel = square * np.log(np.where(square > 0, square, 1.0)) if len(grid) == 2 else np.sqrt(square)
    affine = np.concatenate([np.ones((len(points), 1)), points], 1)
    system = np.block([[kernel, affine], [affine.T, np.zeros((len(grid) + 1, len(grid) + 1))]])
    weights: NDArray[np.float64] = np.linalg.solve(system, np.eye(len(system), len(points)))
    weights.flags.writeable = False
    return weights


def thin_plate_weights(control: NDArray[Any]) -> NDArray[np.float64]:
    """Weights ``[N, D, points + 1 + axes]`` of the splines with the values ``[N, D, (Gz,) Gy, Gx]``.

    The same for an example whatever batch it is in.

    Example:
        >>> flat = thin_plate_weights(np.full((1, 2, 3, 3), 0.5))  # one weight per point, then the affine part
        >>> flat.round(6)[0, 0, 9:] + 0.0
        array([0.5, 0. , 0. ])
    """
    grid = control.shape[2:]
    values = np.ascontiguousarray(control, np.float64).reshape(*control.shape[:2], math.prod(grid))
    weights: NDArray[np.float64] = values @ solution(grid).T
    return weights
