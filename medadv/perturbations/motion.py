"""What perturbations that move voxels share."""

from __future__ import annotations

import torch
from torch import Tensor

# Room for float32: a displacement is a sum of weighted control vectors, or a rounded product; both stay within some
# 2^-22 of their exact length.
_SHRINK = 1.0 - 2.0**-20

PADDINGS = ("border", "reflection")


def shorten(vectors: Tensor, limit: float) -> Tensor:
    """Vectors cut to a length; shorter ones are left as they are.

    Args:
        vectors: [N, D, ...] float32, components on the second axis.
        limit: largest length, at least 0; what is cut stays below it by 2^-20 of it, as room for rounding.

    Returns:
        [N, D, ...] float32.

    >>> shorten(torch.tensor([[[3.0], [4.0]]]), 1.0).flatten()
    tensor([0.6000, 0.8000])
    """
    inside = limit * _SHRINK
    length = lengths(vectors).unsqueeze(1)
    return torch.where(length > inside, vectors * (inside / length), vectors.double()).float()


def lengths(vectors: Tensor) -> Tensor:
    """Euclidean lengths.

    Args:
        vectors: [N, D, ...], components on the second axis.

    Returns:
        [N, ...] float64.
    """
    result: Tensor = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)
    return result


def largest_length(displacement: Tensor) -> Tensor:
    """The longest displacement of each image.

    Args:
        displacement: [N, D, *S].

    Returns:
        [N] float64.
    """
    return lengths(displacement.detach()).flatten(1).amax(dim=1)


def share_of(distance: Tensor, limit: float) -> Tensor:
    """distance / limit, and 0 where nothing is allowed.

    Args:
        distance: [N].
        limit: at least 0.

    Returns:
        [N] of the same dtype.

    >>> share_of(torch.tensor([0.5]), 2.0)
    tensor([0.2500])
    """
    return distance / limit if limit > 0 else torch.zeros_like(distance)
