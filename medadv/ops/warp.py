"""Moving an image along a dense displacement, and the adjoint of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._words import Interpolation, Padding, sampling_words
from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)


def warp(
    image: Tensor, displacement: Tensor, interpolation: Interpolation = "linear", padding: Padding = "zeros"
) -> Tensor:
    """Sample an image at displaced voxels, ``y(p) = x(p + d(p))``.

    The samples of ``grid_sample(align_corners=True)``, for displacements in voxels and with cubic interpolation in
    3D too. The image is continued beyond its borders as ``padding`` says, then interpolated; where the result has a
    kink (``linear`` at a voxel's centre) the derivative is the one from the right.

    Args:
        image: ``[N, C, (D,) H, W]``; float16, bfloat16, float32 or float64 (half types are computed in float32), or
            labels: bool, uint8, int8, int16, int32 or int64, which ``nearest`` copies as they are.
        displacement: ``[N, 2 or 3, (D,) H, W]``, voxels along every axis in the order of the axes; of the image's
            dtype, for labels float32. Where it is NaN, so is a linear or cubic sample, and a nearest one is padding.
        interpolation: ``"nearest"`` (halfway: the even voxel), ``"linear"``, or ``"cubic"`` (the convolution of
            Keys 1981 with a = -0.75, which may overshoot the image's range).
        padding: Outside the image are ``"zeros"``, its ``"border"`` voxels, or its ``"reflection"`` about the centres
            of the border voxels.

    Returns:
        ``[N, C, (D,) H, W]``, contiguous, of the image's dtype. Differentiable once in image and displacement (of
        ``nearest``, to the image alone), and to any order in the image. On the CPU all results have the same bits
        for any number of threads. On CUDA the gradient to the image is summed by atomics, in no fixed order; it is
        refused under ``torch.use_deterministic_algorithms``.

    Raises:
        TypeError: An argument is not a tensor.
        ValueError: Shapes, dtypes, devices or words do not fit; the sentence names which.
        RuntimeError: A second derivative to the displacement, or a gradient that would not be deterministic.

    Example:
        >>> import torch
        >>> image = torch.arange(5.0).expand(1, 1, 2, 5)
        >>> to_the_right = torch.stack([torch.zeros(2, 5), torch.full((2, 5), 0.5)])[None]
        >>> warp(image, to_the_right, padding="border")[0, 0, 0]
        tensor([0.5000, 1.5000, 2.5000, 3.5000, 4.0000])
    """
    check_tensor("warp", "image", image)
    check_tensor("warp", "displacement", displacement)
    words = sampling_words("warp", interpolation, padding)
    out: Tensor = torch.ops.medadv.warp(image, displacement, *words)
    return out


def register_warp(op: str, motion: str) -> None:
    """Fake kernels, gradients, batching and autocast of a warp by some description of the motion.

    Of ``op`` itself and of its gradients: ``{op}_backward`` to image and motion in one pass, ``{op}_{motion}_backward``
    to the motion alone, and ``{op}_adjoint`` to the image alone, which it does not need for that.
    """
    forward, both = getattr(torch.ops.medadv, op), getattr(torch.ops.medadv, f"{op}_backward")
    to_motion = getattr(torch.ops.medadv, f"{op}_{motion}_backward")
    adjoint = getattr(torch.ops.medadv, f"{op}_adjoint")

    @register_fake(f"medadv::{op}")
    def _(image: Tensor, moved: Tensor, interpolation: int, padding: int) -> Tensor:
        return contiguous_like(image)

    @register_fake(f"medadv::{op}_backward")
    def _(grad: Tensor, image: Tensor, moved: Tensor, interpolation: int, padding: int) -> tuple[Tensor, Tensor]:
        return contiguous_like(grad), contiguous_like(moved)

    @register_fake(f"medadv::{op}_{motion}_backward")
    def _(grad: Tensor, image: Tensor, moved: Tensor, interpolation: int, padding: int) -> Tensor:
        return contiguous_like(moved)

    @register_fake(f"medadv::{op}_adjoint")
    def _(grad: Tensor, moved: Tensor, interpolation: int, padding: int) -> Tensor:
        return contiguous_like(grad)

    def keep(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
        image, moved, ctx.interpolation, ctx.padding = inputs
        ctx.save_for_backward(image if ctx.needs_input_grad[1] else None, moved)

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        image, moved = ctx.saved_tensors
        words = ctx.interpolation, ctx.padding
        to_image, wants_motion = ctx.needs_input_grad[:2]
        if to_image:
            refuse_atomics(op, grad)
        if to_image and wants_motion:
            return *both(grad, image, moved, *words), None, None
        if wants_motion:
            return None, to_motion(grad, image, moved, *words), None, None
        return adjoint(grad, moved, *words), None, None, None

    # The adjoint is linear in the gradient, and its own gradient is the warp.

    def keep_motion(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
        _, moved, ctx.interpolation, ctx.padding = inputs
        ctx.save_for_backward(inputs[0] if ctx.needs_input_grad[1] else None, moved)

    def adjoint_backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad, moved = ctx.saved_tensors
        words = ctx.interpolation, ctx.padding
        wants_grad, wants_motion = ctx.needs_input_grad[:2]
        return (
            forward(cotangent, moved, *words) if wants_grad else None,
            to_motion(grad, cotangent, moved, *words) if wants_motion else None,
            None,
            None,
        )

    register_autograd(f"medadv::{op}", backward, setup_context=keep)
    register_autograd(f"medadv::{op}_adjoint", adjoint_backward, setup_context=keep_motion)
    for gradient in (f"{op}_backward", f"{op}_{motion}_backward"):
        register_autograd(f"medadv::{gradient}", _refusal(op, motion), setup_context=lambda ctx, inputs, output: None)
    for name in (op, f"{op}_backward", f"{op}_{motion}_backward", f"{op}_adjoint"):
        register_batching(name)
    register_float32_autocast(op)


def _refusal(op: str, motion: str) -> Callable[..., Any]:
    def refuse(ctx: Any, *cotangents: Tensor) -> Any:
        raise RuntimeError(f"{op}: second derivatives to the {motion} are not defined here, only first ones")

    return refuse


def refuse_atomics(op: str, grad: Tensor) -> None:
    """Raise where the gradient to a warped image would not be deterministic, and has to be."""
    if grad.is_cuda and torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(
            f"{op}: the gradient to the image is not deterministic on CUDA; compute it on the CPU, or ask for the "
            "gradient to the motion alone"
        )


register_warp("warp", "displacement")
