"""A warp, a bias field, noise and a clip, one after the other in one pass over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._chain import chain_settings, is_one_operator
from medadv._words import Interpolation, Padding, sampling_words
from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)
from medadv.ops.bias_field import bias_field
from medadv.ops.spline_warp import spline_warp
from medadv.ops.warp import refuse_atomics


def transform_chain(
    image: Tensor,
    displacement: Tensor | None = None,
    log_gain: Tensor | None = None,
    noise: Tensor | None = None,
    bounds: tuple[float, float] | None = None,
    *,
    origin: float = 0.0,
    interpolation: Interpolation = "linear",
    padding: Padding = "zeros",
) -> Tensor:
    """Move an image, multiply it by a smooth gain, add noise and clip, without the images in between.

    ``y(p) = clip(origin + (x(p + d(p)) - origin) * exp(B(p)) + n(p))``, with d and B cubic B-splines: within rounding
    :func:`medadv.ops.spline_warp`, :func:`medadv.ops.bias_field`, ``+`` and ``clamp``. Any stage may be left out.

    Args:
        image: ``[N, C, (D,) H, W]``; float16, bfloat16, float32 or float64 (half types are computed in float32).
        displacement: ``[N, 2 or 3, (Gz,) Gy, Gx]``, lattice of displacements in voxels, components in the order of the
            axes, as in :func:`medadv.ops.spline_warp`.
        log_gain: ``[N, K, (Gz',) Gy', Gx']``, lattice of logarithms of the gain, as in :func:`medadv.ops.bias_field`;
            K is 1 (one field for all channels) or C. Its control points need not be those of ``displacement``.
        noise: ``[N, C, (D,) H, W]``, or ``[N, 1, (D,) H, W]`` for all channels.
        bounds: Lowest and highest value of the result.
        origin: The intensity that a gain leaves as it is, in image units; -1000 for CT in HU, where air has none.
        interpolation: ``"nearest"``, ``"linear"`` or ``"cubic"``, as in :func:`medadv.ops.warp`.
        padding: ``"zeros"``, ``"border"`` or ``"reflection"``, as in :func:`medadv.ops.warp`.

    All tensors have the dtype of the image. A displacement alone is :func:`medadv.ops.spline_warp`, and a gain alone
    (with an origin of 0) :func:`medadv.ops.bias_field`: in everything, also in what the sentences of their errors name.

    Returns:
        ``[N, C, (D,) H, W]``, contiguous, of the image's dtype. Differentiable once in image, displacement (not of
        ``nearest``), log_gain and noise; only the gradients asked for are computed. The derivative of the clip is
        that of ``torch.clamp``: 1 inside the bounds and on them, else 0. On the CPU all results have the same bits for
        any number of threads. On CUDA so have the gradients to the lattices and the noise; that to a displaced image is
        summed by atomics, in no fixed order, and refused under ``torch.use_deterministic_algorithms``; and those to
        the lattices take the memory of one image's displacement and gain, or 64 MB if that is more.

    Raises:
        TypeError: An argument is not what it must be.
        ValueError: Shapes, dtypes, devices, words or bounds do not fit; the sentence names which.
        RuntimeError: A second derivative, or a gradient that would not be deterministic.

    Example:
        >>> import math, torch
        >>> image = torch.arange(5.0).expand(1, 1, 2, 5)
        >>> to_the_right = torch.tensor([0.0, 0.5])[None, :, None, None].expand(1, 2, 4, 4)
        >>> brighter = torch.full((1, 1, 4, 4), math.log(1.5))
        >>> transform_chain(image, to_the_right, brighter, bounds=(0.0, 5.0), padding="border")[0, 0, 0]
        tensor([0.7500, 2.2500, 3.7500, 5.0000, 5.0000])
    """
    check_tensor("transform_chain", "image", image)
    for name, value in (("displacement", displacement), ("log_gain", log_gain), ("noise", noise)):
        if value is not None:
            check_tensor("transform_chain", name, value)
    limits, origin = chain_settings(bounds, origin)
    words = sampling_words("transform_chain", interpolation, padding)
    if is_one_operator(displacement, log_gain, noise, limits, origin):
        if displacement is not None:
            return spline_warp(image, displacement, interpolation, padding)
        if log_gain is not None:
            return bias_field(image, log_gain)
    out: Tensor = torch.ops.medadv.transform_chain(image, displacement, log_gain, noise, limits, origin, *words)
    return out


@register_fake("medadv::transform_chain")
def _(
    image: Tensor,
    displacement: Tensor | None,
    log_gain: Tensor | None,
    noise: Tensor | None,
    bounds: Sequence[float],
    origin: float,
    interpolation: int,
    padding: int,
) -> Tensor:
    return contiguous_like(image)


@register_fake("medadv::transform_chain_backward")
def _(
    grad: Tensor,
    image: Tensor,
    displacement: Tensor | None,
    log_gain: Tensor | None,
    noise: Tensor | None,
    bounds: Sequence[float],
    origin: float,
    interpolation: int,
    padding: int,
    wanted: int,
) -> tuple[Tensor, ...]:
    arguments = (image, displacement, log_gain, noise)
    return tuple(
        contiguous_like(t) if t is not None and wanted >> k & 1 else image.new_empty(0) for k, t in enumerate(arguments)
    )


def _keep(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.settings = inputs[4:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[:4]
    if needed[0] and tensors[1] is not None:
        refuse_atomics("transform_chain", grad)
    wanted = sum(1 << k for k in range(4) if needed[k])
    grads = torch.ops.medadv.transform_chain_backward(grad, *tensors, *ctx.settings, wanted)
    return *(g if need else None for g, need in zip(grads, needed, strict=True)), *[None] * len(ctx.settings)


def _refuse(ctx: Any, *cotangents: Tensor) -> Any:
    raise RuntimeError(
        "transform_chain: second derivatives are not defined here, only first ones; the single operators have more"
    )


register_autograd("medadv::transform_chain", _backward, setup_context=_keep)
register_autograd("medadv::transform_chain_backward", _refuse, setup_context=lambda ctx, inputs, output: None)
for _op in ("transform_chain", "transform_chain_backward"):
    register_batching(_op)
register_float32_autocast("transform_chain")
