"""The multiplicative bias field: an image times the exponential of a cubic B-spline.

Nothing dense is stored: the field is computed where it is used, forward and backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)
from medadv.ops.spline_field import spline_field


def bias_field(image: Tensor, lattice: Tensor) -> Tensor:
    """Multiply an image by a smooth positive field, ``y = x * exp(B(c))`` with B a cubic B-spline.

    Args:
        image: ``[N, C, (D,) H, W]``; float16, bfloat16, float32 or float64 (half types are computed in float32).
        lattice: ``[N, K, (Gz,) Gy, Gx]``, logarithms of the gain at the control points, of the image's dtype;
            K is 1 (one field for all channels) or C. At least 4 control points along every axis. A spline stays
            within the hull of its control points: where all lie in [-b, b], the gain lies in [exp(-b), exp(b)],
            up to rounding.

    Returns:
        ``[N, C, (D,) H, W]``, contiguous, of the image's dtype. Differentiable in both arguments, to any order;
        the same bits for any number of threads. A lattice of zeros returns the image, bit for bit.

    Raises:
        TypeError: An argument is not a tensor.
        ValueError: Shapes, dtypes or devices do not fit; the sentence names which.

    Example:
        >>> import math, torch
        >>> image = torch.ones(1, 1, 3, 5)
        >>> bias_field(image, torch.full((1, 1, 4, 4), math.log(1.25)))[0, 0, 0]
        tensor([1.2500, 1.2500, 1.2500, 1.2500, 1.2500])
    """
    check_tensor("bias_field", "image", image)
    check_tensor("bias_field", "lattice", lattice)
    out: Tensor = torch.ops.medadv.bias_field(image, lattice)
    return out


@register_fake("medadv::bias_field")
def _(image: Tensor, lattice: Tensor) -> Tensor:
    return contiguous_like(image)


@register_fake("medadv::bias_field_backward")
def _(grad: Tensor, image: Tensor, lattice: Tensor) -> tuple[Tensor, Tensor]:
    return contiguous_like(image), contiguous_like(lattice)


@register_fake("medadv::bias_field_lattice_backward")
def _(grad: Tensor, out: Tensor, lattice: Tensor) -> Tensor:
    return contiguous_like(lattice)


# With G = exp(B(c)) and A the map from lattice to field, the gradients of y = x G are
#   dx = g G,    dc = A^T (g y).
# An attack asks for dc alone: that one needs no exponential, only the output. Asked for dx alone, the
# operator is its own gradient.


def _keep_bias_field(ctx: Any, inputs: Sequence[Tensor], output: Tensor) -> None:
    image, lattice = inputs
    wants_image, wants_lattice = ctx.needs_input_grad[:2]
    if wants_image and wants_lattice:
        ctx.save_for_backward(image, lattice)
    else:
        ctx.save_for_backward(output if wants_lattice else None, lattice)


def _bias_field_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    saved, lattice = ctx.saved_tensors
    wants_image, wants_lattice = ctx.needs_input_grad[:2]
    if wants_image and wants_lattice:
        grads: tuple[Tensor, Tensor] = torch.ops.medadv.bias_field_backward(grad, saved, lattice)
        return grads
    if wants_lattice:
        return None, torch.ops.medadv.bias_field_lattice_backward(grad, saved, lattice)
    return torch.ops.medadv.bias_field(grad, lattice), None


# The gradients are differentiated in turn. With v the cotangent of dx, w that of dc and b = A w:
#   <v, dx> + <w, dc> = sum of g G (v + x b).


def _keep_inputs(ctx: Any, inputs: Sequence[Tensor], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _bias_field_backward_backward(ctx: Any, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad, image, lattice = ctx.saved_tensors
    b = spline_field(w, image.shape[2:])
    d_grad = torch.ops.medadv.bias_field(v + image * b, lattice)
    d_image = torch.ops.medadv.bias_field(grad * b, lattice)
    return d_grad, d_image, torch.ops.medadv.bias_field_lattice_backward(grad, d_grad, lattice)


def _lattice_backward_backward(ctx: Any, w: Tensor) -> tuple[Tensor, Tensor, None]:
    grad, out, _ = ctx.saved_tensors
    b = spline_field(w, out.shape[2:])
    return out * b, grad * b, None


register_autograd("medadv::bias_field", _bias_field_backward, setup_context=_keep_bias_field)
register_autograd("medadv::bias_field_backward", _bias_field_backward_backward, setup_context=_keep_inputs)
register_autograd("medadv::bias_field_lattice_backward", _lattice_backward_backward, setup_context=_keep_inputs)
for _op in ("bias_field", "bias_field_backward", "bias_field_lattice_backward"):
    register_batching(_op)
register_float32_autocast("bias_field")
