"""What perturbations that multiply share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medadv import ops
from medadv._straight_through import straight_through
from medadv.perturbations.perturbation import Bounds


def multiplied(images: Tensor, bounds: Bounds, multiply: Callable[[Tensor], Tensor]) -> Tensor:
    """low + multiply(x - low), clipped to the bounds, in float32 that never rounds away from the images.

    Args:
        images: [N, C, *S] float32 inside `bounds`.
        bounds: (low, high) in image units.
        multiply: what is done to the distance from the low end, [N, C, *S] to [N, C, *S].

    Returns:
        [N, C, *S] float32 inside `bounds`; the gradient is zero where they are clipped. Voxels whose distance from the
        low end stays the same are the same bit for bit.

    >>> multiplied(torch.tensor([-1.0, 0.0, 0.5]), (-1.0, 1.0), lambda above: 1.5 * above)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    low = bounds[0]
    if low == 0:
        return multiply(images).clamp(*bounds)
    above = images - low
    scaled = multiply(above)
    free = (scaled + low).clamp(*bounds)
    # The value rounds towards x, so that adding `low` back cannot break a budget; the gradient is that of `free`.
    kept = ops.add_noise(torch.full_like(images, low), scaled.detach(), bounds, towards=images.detach())
    kept = torch.where(scaled.detach() == above, images, kept)
    return straight_through(kept, free)
