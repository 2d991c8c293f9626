"""The changes that the Square attack tries."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from medadv.attacks.minimum_norm.length import length, per_row, positive
from medadv.attacks.randomness import Draw

_TILES = 5  # along the smallest axis, in the first change of the L2 attack
_SMALLEST = 3  # side of a square in the L2 attack
# Voxels between the squares of the L2 attack and the border of an axis of at least so many voxels: at the border, where
# convolutions pad with zeros, length is spent for less. `benchmarks.parity --only "square l2" --seeds 6` measures it.
_FROM_THE_BORDER, _WIDE = 1, 16


class LinfSquares:
    """Stripes of +-radius, then squares of +-radius, one sign per channel.

    Args:
        shape: (C, *S) of an image.
        radius: in image units.

    Attributes:
        numbers: how many random numbers `next` takes per example.
    """

    def __init__(self, shape: tuple[int, ...], radius: float) -> None:
        self.channels, self.size = shape[0], shape[1:]
        self.radius = radius
        self.numbers = len(self.size) + self.channels

    def first(self, draw: Draw) -> Tensor:
        """Stripes along the first axis of space.

        Args:
            draw: random numbers per example.

        Returns:
            [M, C, *S].
        """
        stripes = _signs(draw.uniform((self.channels, 1, *self.size[1:])))
        return (self.radius * stripes).expand(-1, -1, *self.size).contiguous()

    def next(self, noise: Tensor, numbers: Tensor, share: float) -> Tensor:
        """Noise with one square changed.

        Args:
            noise: [M, C, *S].
            numbers: [M, `numbers`] in [-1, 1).
            share: of the image, that the square covers.

        Returns:
            [M, C, *S].
        """
        axes = len(self.size)
        sides = _sides(share, self.size, smallest=1)
        places = _squares_of(self.size, sides, (0,) * axes, noise.device).places(numbers[:, :axes])
        values = (self.radius * _signs(numbers[:, axes:])).unsqueeze(2)
        places = places.unsqueeze(1).expand(-1, self.channels, -1)
        return noise.flatten(2).scatter(2, places, values.expand(-1, -1, places.shape[2])).reshape(noise.shape)


class L2Squares:
    """Tiles with a positive and a negative bump each; then the length of one square is given to another.

    Args:
        shape: (C, *S) of an image.
        radius: in image units.

    Attributes:
        numbers: how many random numbers `next` takes per example.
    """

    def __init__(self, shape: tuple[int, ...], radius: float) -> None:
        self.channels, self.size = shape[0], shape[1:]
        self.radius = radius
        self.numbers = 2 * len(self.size) + 1 + self.channels

    def first(self, draw: Draw) -> Tensor:
        """Tiles of random signs, each halved along an axis of its own.

        Args:
            draw: random numbers per example.

        Returns:
            [M, C, *S] of length `radius`.
        """
        axes = len(self.size)
        side = max(min(self.size) // _TILES, 1)
        counts = tuple(size // side for size in self.size)
        signs = _signs(draw.uniform((self.channels, *counts)))
        along = _below(draw.uniform((1, *counts)), axes)
        for axis in range(axes):
            signs, along = (tiles.repeat_interleave(side, dim=2 + axis) for tiles in (signs, along))
        noise = torch.zeros_like(signs)
        for axis in range(axes):
            pattern = bumps((side,) * axes, axis).repeat(*counts).to(noise.device)
            noise = torch.where(along == axis, signs * pattern, noise)
        margins = [size - count * side for size, count in zip(self.size, counts, strict=True)]
        padding = [part for margin in reversed(margins) for part in (margin // 2, margin - margin // 2)]
        return self._stretched(torch.nn.functional.pad(noise, padding))

    def next(self, noise: Tensor, numbers: Tensor, share: float) -> Tensor:
        """Noise with one square emptied, and its length given to bumps in another.

        Args:
            noise: [M, C, *S].
            numbers: [M, `numbers`] in [-1, 1).
            share: of the image, that a square covers.

        Returns:
            [M, C, *S] of length `radius`.
        """
        axes = len(self.size)
        sides = _sides(share, self.size, smallest=_SMALLEST)
        margins = tuple(_FROM_THE_BORDER if extent >= _WIDE else 0 for extent in self.size)
        squares = _squares_of(self.size, sides, margins, noise.device)
        filled, emptied = (
            squares.places(part).unsqueeze(1).expand(-1, self.channels, -1)
            for part in (numbers[:, :axes], numbers[:, axes : 2 * axes])
        )
        pattern = squares.patterns[_below(numbers[:, 2 * axes], axes)].unsqueeze(1)
        signs = _signs(numbers[:, 2 * axes + 1 :]).unsqueeze(2)
        flat = noise.flatten(2)
        rest = flat.scatter(2, emptied, 0.0)
        unused = (self.radius**2 - length(noise, "l2") ** 2).clamp_min(0) / self.channels
        within = _squares(flat.gather(2, emptied)) + _squares(rest.gather(2, filled))
        available = (per_row(unused, within) + within).sqrt()
        old = flat.gather(2, filled)
        new = pattern * signs + old / positive(_squares(old).sqrt())
        new = new / positive(_squares(new).sqrt()) * available
        return self._stretched(rest.scatter(2, filled, new).reshape(noise.shape))

    def _stretched(self, noise: Tensor) -> Tensor:
        return noise * per_row(self.radius / positive(length(noise, "l2")), noise)


def bumps(sides: tuple[int, ...], axis: int) -> Tensor:
    """A positive bump in one half of a block and a negative one in the other, of length 1.

    A bump is a stack of nested boxes, the k-th of height 1 / k^2; both have the same length.

    Args:
        sides: of the block.
        axis: along which it is halved.

    Returns:
        [*sides] float32.

    >>> bumps((2, 1), 0).tolist()
    [[0.7071...], [-0.7071...]]
    """
    first = sides[axis] // 2
    halves = []
    for part, sign in ((first, 1.0), (sides[axis] - first, -1.0)):
        if part:
            bump = _bump((*sides[:axis], part, *sides[axis + 1 :]))
            halves.append(sign * bump / bump.norm())
    block = torch.cat(halves, dim=axis)
    unit: Tensor = (block / block.norm()).float()
    return unit


def _bump(sides: tuple[int, ...]) -> Tensor:
    offsets = [(torch.arange(side) - side // 2).abs() for side in sides]
    rings = torch.stack(torch.meshgrid(*offsets, indexing="ij")).amax(dim=0)
    heights = 1 / torch.arange(1, max(sides) // 2 + 2, dtype=torch.float64) ** 2
    bump: Tensor = heights.flip(0).cumsum(0).flip(0)[rings]
    return bump


class _SquaresOf:
    """Squares of one size.

    Args:
        size: of the image.
        sides: of a square.
        margins: voxels between the squares and the border of each axis, where there is room.
        device: where the numbers are.
    """

    def __init__(
        self, size: tuple[int, ...], sides: tuple[int, ...], margins: tuple[int, ...], device: torch.device
    ) -> None:
        self._size, self._sides, self._device = size, sides, device
        room = [extent - side for extent, side in zip(size, sides, strict=True)]
        kept = [min(margin, extra // 2) for margin, extra in zip(margins, room, strict=True)]
        steps = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
        offsets = torch.tensor(sum(margin * step for margin, step in zip(kept, steps, strict=True)))
        for side, step in zip(sides, steps, strict=True):
            offsets = offsets.unsqueeze(-1) + step * torch.arange(side)
        self._offsets = offsets.flatten().to(device)
        self._steps = torch.tensor(steps, device=device)
        self._counts = torch.tensor(
            [extra - 2 * margin + 1 for extra, margin in zip(room, kept, strict=True)], device=device
        )

    @cached_property
    def patterns(self) -> Tensor:
        """Bumps halved along each axis, [axes, B]."""
        return torch.stack([bumps(self._sides, axis).flatten() for axis in range(len(self._size))]).to(self._device)

    def places(self, numbers: Tensor) -> Tensor:
        """The voxels of squares at random, counted through the image from its first one.

        Args:
            numbers: [M, axes] in [-1, 1).

        Returns:
            [M, B] int64.
        """
        corners = _below(numbers, self._counts)
        return (corners * self._steps).sum(dim=1, keepdim=True) + self._offsets


_squares_of = lru_cache(maxsize=4)(_SquaresOf)


def _sides(share: float, size: tuple[int, ...], smallest: int) -> tuple[int, ...]:
    side = max(round((share * math.prod(size)) ** (1 / len(size))), smallest)
    if smallest > 1 and side % 2 == 0:
        side += 1
    return tuple(min(side, extent) for extent in size)


def _below(numbers: Tensor, count: Tensor | int) -> Tensor:
    """Whole numbers from 0 to count - 1 of numbers in [-1, 1)."""
    return ((numbers + 1) / 2 * count).long().clamp_max(count - 1)


def _signs(numbers: Tensor) -> Tensor:
    return torch.where(numbers < 0, -1.0, 1.0)


def _squares(values: Tensor) -> Tensor:
    """Squared length of each channel, [M, C, 1]."""
    return values.double().square().sum(dim=2, keepdim=True).to(values.dtype)
