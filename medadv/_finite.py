"""Whether numbers are finite, in one pass over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medadv._graph import without_graph


def all_finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite.

    Args:
        values: any shape.

    >>> all_finite(torch.tensor([1.0, torch.inf])), all_finite(torch.full((2,), 3e38))
    (False, True)
    """
    values = without_graph(values)
    # A sum is finite only where all its terms are. It may also overflow: then the entries themselves decide.
    return math.isfinite(float(values.sum())) or bool(torch.isfinite(values).all())
