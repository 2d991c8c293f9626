"""The changes that the Square attack tries."""

from __future__ import annotations

import math

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
        return self.radius * stripes.expand(-1, -1, *self.size)

    def next(self, noise: Tensor, numbers: Tensor, share: float) -> Tensor:
        """Noise with one square changed.

        Args:
            noise: [M, C, *S].
            numbers: [M, `numbers`] in [-1, 1).
            share: of the image, that the square covers.

        Returns:
            [M, C, *S].
        """
        sides = _sides(share, self.size, smallest=1)
        corners = _corners(numbers[:, : len(self.size)], self.size, sides, (0,) * len(self.size))
        signs = _signs(numbers[:, len(self.size) :]).reshape(-1, self.channels, *[1] * len(self.size))
        return torch.where(_window(corners, self.size, sides), self.radius * signs, noise)


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
        corners = _corners(numbers[:, :axes], self.size, sides, margins)
        others = _corners(numbers[:, axes : 2 * axes], self.size, sides, margins)
        emptied = _window(others, self.size, sides)
        filled = _window(corners, self.size, sides)
        along = _below(numbers[:, 2 * axes], axes)
        signs = _signs(numbers[:, 2 * axes + 1 :]).reshape(-1, self.channels, *[1] * axes)
        unused = (self.radius**2 - length(noise, "l2") ** 2).clamp_min(0) / self.channels
        available = (per_row(unused, noise) + _squares(noise * (filled | emptied))).sqrt()
        old = noise * filled
        new = _placed(corners, along, self.size, sides).unsqueeze(1) * signs + old / positive(_squares(old).sqrt())
        new = new * filled
        new = new / positive(_squares(new).sqrt()) * available
        return self._stretched(torch.where(filled, new, noise * ~emptied))

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


def _placed(corners: Tensor, along: Tensor, size: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
    """Bumps at the corners, halved along an axis of each example's own; [M, *S], to be cut to the window."""
    patterns = torch.stack([bumps(sides, axis) for axis in range(len(size))]).to(corners.device)
    places = [
        _along((torch.arange(extent, device=corners.device) - corners[:, [axis]]).clamp(0, side - 1), axis, len(size))
        for axis, (extent, side) in enumerate(zip(size, sides, strict=True))
    ]
    where = (along.reshape(-1, *[1] * len(size)), *places)
    placed: Tensor = patterns[where]
    return placed


def _window(corners: Tensor, size: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
    """Where the squares are, bool [M, 1, *S]."""
    inside = torch.ones((), dtype=torch.bool, device=corners.device)
    for axis, (extent, side) in enumerate(zip(size, sides, strict=True)):
        offset = torch.arange(extent, device=corners.device) - corners[:, [axis]]
        inside = inside & _along((offset >= 0) & (offset < side), axis, len(size))
    return inside.unsqueeze(1)


def _along(values: Tensor, axis: int, axes: int) -> Tensor:
    """[M, extent] as [M, 1, ..., extent, ..., 1]."""
    return values.reshape(len(values), *[-1 if other == axis else 1 for other in range(axes)])


def _sides(share: float, size: tuple[int, ...], smallest: int) -> tuple[int, ...]:
    side = max(round((share * math.prod(size)) ** (1 / len(size))), smallest)
    if smallest > 1 and side % 2 == 0:
        side += 1
    return tuple(min(side, extent) for extent in size)


def _corners(numbers: Tensor, size: tuple[int, ...], sides: tuple[int, ...], margins: tuple[int, ...]) -> Tensor:
    """Corners of squares inside the image, so many voxels from its border where there is room, [M, axes] int64."""
    found = []
    for axis, (extent, side, margin) in enumerate(zip(size, sides, margins, strict=True)):
        kept = min(margin, (extent - side) // 2)
        found.append(kept + _below(numbers[:, axis], extent - side - 2 * kept + 1))
    return torch.stack(found, dim=1)


def _below(numbers: Tensor, count: int) -> Tensor:
    """Whole numbers from 0 to count - 1 of numbers in [-1, 1)."""
    return ((numbers + 1) / 2 * count).long().clamp_max(count - 1)


def _signs(numbers: Tensor) -> Tensor:
    return torch.where(numbers < 0, -1.0, 1.0)


def _squares(noise: Tensor) -> Tensor:
    """Squared length of each channel, [M, C, 1, ...]."""
    axes = tuple(range(2, noise.ndim))
    return noise.double().square().sum(dim=axes, keepdim=True).to(noise.dtype)
