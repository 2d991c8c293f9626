"""What the parts of a network say about images, taken on the way of one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from medadv.models.victim import Victim

Features = dict[str, Tensor]
"""For each part of a network its channels, averaged over the voxels, [N, P] float64."""


@contextmanager
def tapped(module: nn.Module, layers: Sequence[str]) -> Iterator[Features]:
    """Collect features while the module is called once; it has no hook of ours before and after.

    Args:
        module: the network.
        layers: names of its parts as in ``module.named_modules()``; each returns [N, P] or [N, P, *S].

    Yields:
        A dictionary that the pass fills.

    Raises:
        ValueError: no such part; a part that was not called, or more than once.
        TypeError: a part that returns no tensor [N, P, ...].

    >>> net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten())
    >>> with tapped(net, ["1"]) as features:
    ...     _ = net(torch.zeros(2, 1, 4, 4))
    >>> features["1"].shape
    torch.Size([2, 3])
    """
    parts = dict(module.named_modules())
    for layer in layers:
        if layer not in parts:
            raise ValueError(f"layers must name parts of the model, such as {list(parts)[-1]!r}, got {layer!r}.")
    found: Features = {}
    handles = [parts[layer].register_forward_hook(_keep_in(found, layer)) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        if layer not in found:
            raise ValueError(f"layers must name parts that the model calls, but it does not call {layer!r}.")


def _keep_in(found: Features, layer: str) -> Any:
    def keep(part: nn.Module, inputs: Any, output: Any) -> None:
        if layer in found:
            raise ValueError(f"layers must name parts that the model calls once, but it calls {layer!r} again.")
        if not isinstance(output, Tensor) or output.ndim < 2:
            raise TypeError(f"layers must name parts that return a tensor [N, P, ...], but {layer!r} does not.")
        # In float64, so that the mean does not depend on the number of images. A new tensor in any case: what comes
        # next in the model may work in place.
        wide = output.double() if output.dtype != torch.float64 else output.clone()
        found[layer] = wide.flatten(2).mean(dim=2) if wide.ndim > 2 else wide

    return keep


def features_of(victim: Victim, images: Tensor, layers: Sequence[str], batch: int = 64) -> Features:
    """Features of many images, without gradient.

    Args:
        victim: the model.
        images: [N, C, *S] float32, N >= 1.
        layers: names of parts of its module.
        batch: how many images at a time.

    Returns:
        For each layer [N, P] float64.
    """
    with torch.no_grad():
        parts = [victim.look(part, layers)[1] for part in images.split(batch)]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}
