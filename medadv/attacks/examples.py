"""Examples that a victim is asked about together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples that the victim is asked about together, gathered once.

    Attributes:
        rows: [M] int64.
        images: [M, C, *S] clean.
        targets: [M].
        ids: [M] int64, their numbers.
        bounds: (low, high) in image units.
    """

    rows: Tensor
    images: Tensor
    targets: Tensor
    ids: Tensor
    bounds: tuple[float, float]

    @cached_property
    def room(self) -> tuple[Tensor, Tensor]:
        """How far every voxel may go down and up: low <= 0 and high >= 0, both [M, C, *S], in image units."""
        low, high = self.bounds
        return (low - self.images).clamp_max_(0), (high - self.images).clamp_min_(0)


class Gathering:
    """Gathers examples by their rows; those of the last call are not gathered again.

    Args:
        images: [N, C, *S] clean.
        targets: [N].
        ids: [N] int64, their numbers.
        bounds: (low, high) in image units.

    >>> import torch
    >>> examples = Gathering(torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 1]), torch.arange(3), (0.0, 1.0))
    >>> rows = torch.tensor([0, 2])
    >>> examples(rows).targets.tolist(), examples(rows) is examples(rows)
    ([0, 1], True)
    """

    def __init__(self, images: Tensor, targets: Tensor, ids: Tensor, bounds: tuple[float, float]) -> None:
        self._all = images, targets, ids
        self._bounds = bounds
        self._last: Examples | None = None

    def __call__(self, rows: Tensor) -> Examples:
        """Gather examples.

        Args:
            rows: [M] int64, in ascending order, each once; never written to.

        Returns:
            Their images, targets and numbers.
        """
        if self._last is None or self._last.rows is not rows:
            images, targets, ids = self._all
            if rows.shape[0] < images.shape[0]:
                images, targets, ids = (values.index_select(0, rows) for values in self._all)
            self._last = Examples(rows, images, targets, ids, self._bounds)
        return self._last
