"""The Gaussian blur of an image, and its adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._arguments import real
from medadv._lattice import per_axis
from medadv._words import BlurPadding, blur_padding
from medadv.ops._registration import (
    check_tensor,
    contiguous_like,
    register_batching,
    register_float32_autocast,
)


def gaussian_blur(
    image: Tensor,
    sigma: float | Sequence[float],
    padding: BlurPadding = "reflect",
    truncate: float = 4.0,
) -> Tensor:
    """Convolve an image with a Gaussian, axis by axis.

    The weights are ``exp(-k^2 / (2 sigma^2))`` for ``|k| <= r = ceil(truncate * sigma)``, with the sum 1. The radius
    may be larger than the image. (SciPy rounds ``truncate * sigma`` to the nearest integer instead of up.)

    On the CPU all axes are blurred in one pass over the image: beyond the output, only a few rows (in 3D, up to
    about a megabyte) per thread. On CUDA it is one launch per blurred axis, with one image between each two.

    Args:
        image: ``[N, C, (D,) H, W]``; float16, bfloat16, float32 or float64 (half types are computed in float32).
        sigma: Standard deviation in voxels, one number or one per axis; an axis with 0 is left as it is.
        padding: What stands outside the image. ``"reflect"``: the image mirrored about its last voxel, as torch
            does (``scipy.ndimage`` calls it ``"mirror"``). ``"border"``: its last voxel (SciPy: ``"nearest"``).
            ``"zeros"``: zero (SciPy: ``"constant"``), so that the image fades towards its border.
        truncate: Radius of the kernel in units of sigma.

    Returns:
        ``[N, C, (D,) H, W]``, contiguous, of the image's dtype. Differentiable to any order; the same bits for any
        number of threads.

    Raises:
        TypeError: ``image`` is not a tensor, ``sigma`` no number nor one per axis, ``truncate`` no number.
        ValueError: A wrong number of axes, a negative sigma, a radius of 32768 voxels or more, an unknown padding.

    Example:
        >>> import torch
        >>> step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 3, 4)
        >>> gaussian_blur(step, 0.5)[0, 0, 0]
        tensor([5.2773e-04, 1.0671e-01, 8.9329e-01, 9.9947e-01])
    """
    check_tensor("gaussian_blur", "image", image)
    word, sigmas = blur_padding("gaussian_blur", padding), per_axis("gaussian_blur", "sigma", sigma, image.dim() - 2)
    radius = real(truncate, "gaussian_blur: truncate")
    out: Tensor = torch.ops.medadv.gaussian_blur(image, sigmas, word, radius)
    return out


# Two linear maps, each the other's adjoint, so each is the other's gradient.


def _keep(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    ctx.settings = inputs[1:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return torch.ops.medadv.gaussian_blur_adjoint(grad, *ctx.settings), None, None, None


def _adjoint_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return torch.ops.medadv.gaussian_blur(grad, *ctx.settings), None, None, None


register_autograd("medadv::gaussian_blur", _backward, setup_context=_keep)
register_autograd("medadv::gaussian_blur_adjoint", _adjoint_backward, setup_context=_keep)
for _op in ("gaussian_blur", "gaussian_blur_adjoint"):

    @register_fake(f"medadv::{_op}")
    def _(image: Tensor, sigma: Sequence[float], padding: int, truncate: float) -> Tensor:
        return contiguous_like(image)

    register_batching(_op)
    register_float32_autocast(_op)
