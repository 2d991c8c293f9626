"""Deformations one after the other: composition of displacements, and the flow of a velocity field."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv._flow import check_displacement, check_pair, check_steps
from medadv.ops._registration import check_tensor
from medadv.ops.warp import warp


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Compute the displacement of one deformation after another, ``(id + outer) o (id + inner)``.

    ``r(p) = inner(p) + outer(p + inner(p))``, with ``outer`` sampled linearly. An image warped by ``r`` is, but for
    interpolation, the image warped by ``outer`` and the result by ``inner``. Where ``inner`` leads out of the image,
    ``outer`` is continued by its border voxels: a deformation does not jump to nothing at the edge of the picture,
    and the composition of two translations is their sum everywhere.

    Args:
        outer: ``[N, 2, H, W]`` or ``[N, 3, D, H, W]``, the displacement that comes second, in voxels, components in
            the order of the axes; float16, bfloat16, float32 or float64 (half types are sampled in float32).
        inner: The displacement that comes first; of the shape and dtype of ``outer``.

    Returns:
        The displacement of both, of the shape and dtype of ``outer``. Differentiable once in both arguments, and to
        any order in ``outer``; bits and memory as for :func:`medadv.ops.warp`.

    Raises:
        TypeError: An argument is not a tensor.
        ValueError: Shapes, dtypes or devices do not fit; the sentence names which.
        RuntimeError: A second derivative to ``inner``, or a gradient that would not be deterministic.

    Example:
        >>> import torch
        >>> right = torch.tensor([0.0, 1.5])[None, :, None, None].expand(1, 2, 3, 3)
        >>> compose(right, right)[0, :, 1, 1]
        tensor([0., 3.])
    """
    _check("compose", "outer", outer)
    _check("compose", "inner", inner)
    check_pair(outer, inner)
    if outer.device != inner.device:
        raise ValueError(f"compose: inner must be on the device of outer, {outer.device}, got {inner.device}")
    return _compose(outer, inner)


def exponentiate(velocity: Tensor, steps: int = 7) -> Tensor:
    """Compute the displacement at time 1 of the flow along a velocity field, its exponential, by scaling and squaring.

    The flow of a smooth velocity is a diffeomorphism, and that of ``-velocity`` its inverse (Arsigny et al. 2006).
    Here the displacement at time ``2^-steps`` is taken to be ``velocity 2^-steps``, and is then composed with itself
    ``steps`` times; the error halves with every further step, down to that of linear interpolation. The default of 7
    keeps that first displacement below half a voxel for velocities up to 64 voxels.

    Args:
        velocity: ``[N, 2, H, W]`` or ``[N, 3, D, H, W]``, in voxels per unit of time, components in the order of the
            axes, continued beyond the image by its border voxels; float16, bfloat16, float32 or float64 (half types
            are computed in float32).
        steps: How often the displacement is composed with itself, 0 to 30.

    Returns:
        The displacement at time 1, of the shape and dtype of ``velocity``. Differentiable once, which keeps all
        ``steps`` displacements in memory; bits as for :func:`medadv.ops.warp`.

    Raises:
        TypeError: ``velocity`` is not a tensor, or ``steps`` not an integer.
        ValueError: Shape, dtype or ``steps`` do not fit; the sentence names which.
        RuntimeError: A second derivative, or a gradient that would not be deterministic.

    Example:
        >>> import torch
        >>> down = torch.tensor([2.0, 0.0])[None, :, None, None].expand(1, 2, 3, 3)
        >>> exponentiate(down)[0, :, 0, 0]  # a constant velocity is a translation
        tensor([2., 0.])
        >>> exponentiate(-down)[0, :, 0, 0]  # the way back
        tensor([-2., 0.])
    """
    _check("exponentiate", "velocity", velocity)
    check_steps(steps)
    wide = velocity.float() if velocity.dtype in (torch.float16, torch.bfloat16) else velocity
    displacement = wide * 2.0**-steps
    for _ in range(steps):
        displacement = _compose(displacement, displacement)
    return displacement.to(velocity.dtype)


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    return warp(outer, inner, padding="border").add_(inner)  # in place: one output in memory, not two


def _check(op: str, name: str, displacement: Tensor) -> None:
    check_tensor(op, name, displacement)
    check_displacement(op, name, displacement, (torch.float16, torch.bfloat16, torch.float32, torch.float64))
