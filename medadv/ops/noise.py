"""Noise added to an image, and moved into a ball, so that a budget holds to the last bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from medadv._arguments import any_real
from medadv._words import RowNorm, check_bounds, check_radius, noise_norm
from medadv.ops._registration import check_tensor, contiguous_like, plain_tensor, register_batching


def add_noise(image: Tensor, noise: Tensor, bounds: tuple[float, float], towards: Tensor | None = None) -> Tensor:
    """Add noise to an image, rounded towards the image, and clip the sum to the bounds.

    Rounding to nearest can put ``image + noise`` further from the image than the noise is long; this never does, so a
    budget that the noise keeps is kept by the image, in exact arithmetic (ours; the error of the sum is that of TwoSum:
    Knuth, The Art of Computer Programming, vol. 2, 4.2.2). One pass, where torch takes a dozen.

    Args:
        image: ``[N, ...]``, float32 or float64, inside the bounds.
        noise: The same shape, dtype and device.
        bounds: (low, high) in image units.
        towards: The same shape, dtype and device: the sum is rounded towards this instead, where rounding to nearest
            leads away from it.

    Returns:
        ``[N, ...]``, contiguous. The gradient to image and noise is that of a sum, also where it is rounded or clipped.

    Raises:
        TypeError: An argument is not a tensor, a setting not a number.
        ValueError: Another shape, dtype or device, or low above high.

    Example:
        >>> image, noise = torch.tensor([1.0]), torch.tensor([0.1])
        >>> float((image + noise).double() - image.double()) <= float(noise.double())
        False
        >>> float(add_noise(image, noise, (0.0, 2.0)).double() - image.double()) <= float(noise.double())
        True
    """
    check_tensor("add_noise", "image", image)
    check_tensor("add_noise", "noise", noise)
    if towards is not None:
        check_tensor("add_noise", "towards", towards)
    out: Tensor = torch.ops.medadv.add_noise(image, noise, towards, *check_bounds("add_noise", bounds))
    return out


def project_noise(
    image: Tensor, noise: Tensor, bounds: tuple[float, float], radius: float, norm: RowNorm = "linf"
) -> Tensor:
    """Noise that keeps the image inside the bounds, inside a ball.

    For ``"linf"`` it is clipped to both; for ``"l2"`` clipped to the bounds, then shortened where it is longer than the
    radius: its length, in float64, is at most the radius.

    Args:
        image: ``[N, ...]``, float32 or float64, inside the bounds.
        noise: The same shape, dtype and device.
        bounds: (low, high) in image units.
        radius: Of the ball, in image units, at least 0. For ``"linf"`` it is rounded down to the dtype of the image.
        norm: ``"linf"``, or ``"l2"``, over all axes but the first.

    Returns:
        ``[N, ...]``, contiguous, without gradient; its length is at most the radius.

    Raises:
        TypeError: An argument is not a tensor, a setting not a number.
        ValueError: Another shape, dtype or device, low above high, a negative radius, another norm.

    Example:
        >>> image = torch.tensor([[0.5, 1.0]])
        >>> project_noise(image, torch.tensor([[-0.25, 0.125]]), (0.0, 1.0), 0.125)
        tensor([[-0.1250,  0.0000]])
    """
    x, d = plain_tensor("project_noise", "image", image), plain_tensor("project_noise", "noise", noise)
    low, high = check_bounds("project_noise", bounds)
    word = noise_norm("project_noise", norm)
    out: Tensor = torch.ops.medadv.project_noise(x, d, low, high, any_real(radius, "project_noise: radius"), word)
    return out


def sign_step(
    image: Tensor, noise: Tensor, gradient: Tensor, length: float, bounds: tuple[float, float], radius: float
) -> tuple[Tensor, Tensor]:
    """Noise after a step of the sign of a gradient, inside the image bounds and the L-infinity ball; and the image.

    The step of FGSM, BIM and PGD (Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018):
    ``noise = project_noise(image, noise + length * gradient.sign(), bounds, radius)`` and ``add_noise(image, noise,
    bounds)``, bit for bit, in one pass.

    Args:
        image: ``[N, ...]``, float32 or float64, inside the bounds.
        noise: The same shape, dtype and device.
        gradient: The same shape, dtype and device; no step where it is 0 or no number.
        length: Of the step, in image units, finite; below 0 downhill.
        bounds: (low, high) in image units.
        radius: Of the ball, in image units, at least 0; rounded down to the dtype of the image.

    Returns:
        The noise and the image with it, each ``[N, ...]``, contiguous, without gradient.

    Raises:
        TypeError: An argument is not a tensor, a setting not a number.
        ValueError: Another shape, dtype or device, low above high, a negative radius, a length that is not finite.

    Example:
        >>> image, gradient = torch.tensor([[0.5, 0.5, 1.0]]), torch.tensor([[-3.0, 0.0, 2.0]])
        >>> sign_step(image, torch.zeros(1, 3), gradient, 0.25, (0.0, 1.0), 0.125)
        (tensor([[-0.1250,  0.0000,  0.0000]]), tensor([[0.3750, 0.5000, 1.0000]]))
    """
    x, d = plain_tensor("sign_step", "image", image), plain_tensor("sign_step", "noise", noise)
    g = plain_tensor("sign_step", "gradient", gradient)
    low, high = check_bounds("sign_step", bounds)
    length, radius = any_real(length, "sign_step: length"), any_real(radius, "sign_step: radius")
    out: tuple[Tensor, Tensor] = torch.ops.medadv.sign_step(x, d, g, length, low, high, radius)
    return out


def unit_step(
    image: Tensor,
    noise: Tensor,
    gradient: Tensor,
    length: float,
    bounds: tuple[float, float],
    radius: float | Tensor,
    norm: RowNorm = "l2",
) -> Tensor:
    """Noise after a step of one length along a gradient, inside the image bounds and a ball.

    The step of PGD in L2 and of minimum-norm attacks, whose balls have radii of their own: every row of the gradient is
    divided by its Euclidean length, as by `unit_rows`; then ``noise + length * gradient``, rounded once, is moved into
    the ball as by `project_noise`. In place of a pass for each.

    Args:
        image: ``[N, ...]``, float32 or float64, inside the bounds.
        noise: The same shape, dtype and device.
        gradient: The same shape, dtype and device; no step where `row_lengths` finds a row to be 0, or infinitely long.
            NaN goes on, as does a row with an infinite entry, as NaN.
        length: Of the step, in image units, finite; below 0 downhill.
        bounds: (low, high) in image units.
        radius: Of the ball, in image units, at least 0; or ``[N]`` float64, one for every row, where one below 0 or
            NaN is not looked for, and leaves nothing. For ``"linf"`` it is rounded down to the dtype of the image.
        norm: ``"linf"``, or ``"l2"``, of the ball.

    Returns:
        ``[N, ...]``, contiguous, without gradient; its length is at most the radius.

    Raises:
        TypeError: An argument is not a tensor, a setting not a number, the radius neither of them.
        ValueError: Another shape, dtype or device, low above high, a length that is not finite, one negative radius,
            another norm.

    Example:
        >>> image, gradient = torch.full((2, 2), 0.5), torch.tensor([[3.0, -4.0], [3.0, -4.0]])
        >>> radius = torch.tensor([0.25, 1.0], dtype=torch.float64)
        >>> unit_step(image, torch.zeros(2, 2), gradient, 0.5, (0.0, 1.0), radius)
        tensor([[ 0.1500, -0.2000],
                [ 0.3000, -0.4000]])
    """
    x, d = plain_tensor("unit_step", "image", image), plain_tensor("unit_step", "noise", noise)
    g = plain_tensor("unit_step", "gradient", gradient)
    low, high = check_bounds("unit_step", bounds)
    length = any_real(length, "unit_step: length")
    if isinstance(radius, Tensor):
        radii = plain_tensor("unit_step", "radius", radius)
    else:
        of_all = check_radius("unit_step", radius)
        radii = torch.full(image.shape[:1], of_all, dtype=torch.float64, device=image.device)
    out: Tensor = torch.ops.medadv.unit_step(x, d, g, length, low, high, radii, noise_norm("unit_step", norm))
    return out


def _added_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    return grad, grad, None, None, None


register_autograd("medadv::add_noise", _added_backward)


@register_fake("medadv::add_noise")
def _(image: Tensor, noise: Tensor, towards: Tensor | None, low: float, high: float) -> Tensor:
    return contiguous_like(image)


@register_fake("medadv::project_noise")
def _(image: Tensor, noise: Tensor, low: float, high: float, radius: float, norm: int) -> Tensor:
    return contiguous_like(image)


@register_fake("medadv::sign_step")
def _(
    image: Tensor, noise: Tensor, gradient: Tensor, length: float, low: float, high: float, radius: float
) -> tuple[Tensor, Tensor]:
    return contiguous_like(image), contiguous_like(image)


@register_fake("medadv::unit_step")
def _(
    image: Tensor,
    noise: Tensor,
    gradient: Tensor,
    length: float,
    low: float,
    high: float,
    radius: Tensor,
    norm: int,
) -> Tensor:
    return contiguous_like(image)


for _op in ("add_noise", "project_noise", "sign_step", "unit_step"):
    register_batching(_op)
