"""How smooth a change of intensity is."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv import ops
from medadv.metrics.realism._images import Bounds, check_pair


def log_ratio(clean: Tensor, changed: Tensor, bounds: Bounds = (0.0, 1.0)) -> Tensor:
    """The logarithm of the gain at every voxel, log((y - low + d) / (x - low + d)).

    Args:
        clean, changed: [N, C, (D,) H, W], floating point, inside `bounds`.
        bounds: (low, high) in image units. d is 1/255 of their width (ours: black has no gain, and noise in the dark
            shall not outweigh everything).

    Returns:
        [N, C, (D,) H, W] float64.

    Raises:
        TypeError, ValueError: not two batches of finite images of one shape; images or bounds that do not fit.

    >>> round(float(log_ratio(torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 0.6)).exp()), 3)
    1.198
    """
    width = check_pair(clean, changed, bounds)
    low, high = bounds
    for name, images in (("clean", clean), ("changed", changed)):
        if bool((images < low).any()) or bool((images > high).any()):
            raise ValueError(f"{name} must lie within the bounds {low:g} to {high:g}.")
    floor = width / 255
    return torch.log((changed.double() - low + floor) / (clean.double() - low + floor))


def log_ratio_variation(clean: Tensor, changed: Tensor, bounds: Bounds = (0.0, 1.0)) -> Tensor:
    """Total variation of the log gain per voxel and channel: small for a bias field, large for noise.

    Args:
        clean, changed, bounds: as `log_ratio` takes them.

    Returns:
        [N] float64, at least 0; differences are of neighbours along every axis.

    Raises:
        TypeError, ValueError: as for `log_ratio`.

    >>> clean = torch.rand(1, 1, 8, 8) / 2
    >>> float(log_ratio_variation(clean, clean))
    0.0
    """
    ratio = log_ratio(clean, changed, bounds)
    return ops.total_variation(ratio) / ratio[0].numel()


def log_ratio_bending(clean: Tensor, changed: Tensor, bounds: Bounds = (0.0, 1.0)) -> Tensor:
    """Bending energy of the log gain per voxel and channel.

    Args:
        clean, changed, bounds: as `log_ratio` takes them.

    Returns:
        [N] float64, at least 0, by second differences (see `medadv.ops.bending_energy`).

    Raises:
        TypeError, ValueError: as for `log_ratio`.

    >>> clean = torch.rand(1, 1, 8, 8) / 2
    >>> float(log_ratio_bending(clean, clean))
    0.0
    """
    ratio = log_ratio(clean, changed, bounds)
    return ops.bending_energy(ratio) / ratio[0].numel()
