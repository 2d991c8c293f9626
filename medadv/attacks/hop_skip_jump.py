"""HopSkipJump."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv.attacks.minimum_norm.ball import to_linf_ball
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.attacks.minimum_norm.length import length, per_row
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormAttack
from medadv.attacks.progress import told
from medadv.attacks.randomness import Draw

NORMS = ("l2", "linf")

_TRIES = 100  # random images to start from
_FIRST_PROBE = 0.1  # length of the first probes, as a fraction of the image range
_PROBE = 0.01  # of all others, as a share of the distance
_HALVINGS = 30  # of a step that is too long
_BLOCK = 16  # probes per example that are drawn and shown together
_FINEST = 2.0**-20  # of the searches along a line; float32 images cannot be told apart further on


@dataclass(frozen=True, repr=False)
class HopSkipJump(MinimumNormAttack):
    """Walks along the decision boundary towards the clean image; sees the answers of the victim alone.

    Chen et al., "HopSkipJumpAttack: a query-efficient decision-based attack" (2020), with the constants of the authors'
    code: a binary search to the boundary, the direction from 100 sqrt(t) probes around it, at most 10000, and a step of
    distance / sqrt(t), halved until the victim is fooled. Ours: the random images to start from also come in coarser
    grains, the random numbers are each example's own, and probes are a hundredth of the distance long, where the
    authors' are one over the number of voxels: the boundary need not be found as closely, which leaves queries.

    Args:
        norm: "l2" or "linf".
        probes: of the first step, at least 1.
        most_probes: of any step, at least 1.
        seed: of the random images and probes, 0 to 2^64 - 1.
        steps: at least 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> result = HopSkipJump(steps=2)(Victim(net), images, net(images).argmax(1))
    >>> int(result.backwards.sum())
    0
    """

    name: ClassVar[str] = "hop-skip-jump"

    norm: str = "l2"
    probes: int = 100
    most_probes: int = 10_000
    seed: int = field(default=0, kw_only=True)
    steps: int = field(default=40, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _arguments.choice(self.norm, "norm", NORMS)
        object.__setattr__(self, "probes", _arguments.whole(self.probes, "probes", at_least=1))
        object.__setattr__(self, "most_probes", _arguments.whole(self.most_probes, "most_probes", at_least=1))
        object.__setattr__(self, "seed", _arguments.whole(self.seed, "seed", at_least=0, below=2**64))

    @property
    def measure(self) -> str:
        return self.norm

    def _chase(self, hunt: Hunt) -> None:
        with torch.no_grad():
            rows, noise = self._start(hunt)
            if len(rows) == 0:
                return
            noise = self._to_boundary(hunt, rows, 0, noise, "l2")
            reach = torch.full_like(length(noise, self.norm), _FIRST_PROBE * hunt.victim.scale)
            for step in told(range(1, self.steps + 1)):
                (direction,) = hunt.in_packs(partial(self._direction, hunt, step), rows, noise, reach)
                noise = self._jump(hunt, rows, step, noise, direction)
                distance = length(noise, self.norm)
                noise = self._to_boundary(hunt, rows, step, noise, self.norm)
                reach = _PROBE * distance

    def _tolerance(self, voxels: int) -> float:
        """Where the search along a line ends, as a share of its length: what a probe moves along it."""
        return max(_PROBE / (math.sqrt(voxels) if self.norm == "l2" else voxels), _FINEST)

    def _start(self, hunt: Hunt) -> tuple[Tensor, Tensor]:
        """Random images that fool the victim: which examples have one, and their noise."""
        low, _ = hunt.victim.bounds
        rows = hunt.rows
        found = torch.zeros_like(hunt.images)
        for number in range(_TRIES):
            if len(rows) == 0:
                break
            images = low + hunt.victim.scale * self._random_images(hunt, rows, number)
            noise = hunt.clip(rows, images - hunt.images[rows])
            adversarial = hunt.look(rows, 0, noise).adversarial
            found[rows[adversarial]] = noise[adversarial]
            rows = rows[~adversarial]
        started = hunt.rows[hunt.record.fooled[hunt.rows]]
        return started, found[started]

    def _random_images(self, hunt: Hunt, rows: Tensor, number: int) -> Tensor:
        """Random values from 0 to 1 in grains of 1, 2, 4, ... voxels; as often in one grain as in another."""
        channels, *size = hunt.images.shape[1:]
        grains = max(size).bit_length()
        grain = 2 ** (number % grains)
        coarse = tuple(math.ceil(extent / grain) for extent in size)
        values = (Draw(self.seed, hunt.ids[rows], number).uniform((channels, *coarse)) + 1) / 2
        for axis, extent in enumerate(size):
            values = values.repeat_interleave(grain, dim=2 + axis).narrow(2 + axis, 0, extent)
        return values

    def _to_boundary(self, hunt: Hunt, rows: Tensor, step: int, noise: Tensor, norm: str) -> Tensor:
        """Binary search between the clean image and an adversarial one, on the line ("l2") or by clipping ("linf")."""
        inner = torch.zeros(len(rows), dtype=torch.float64, device=noise.device)
        outer = torch.ones_like(inner)
        limit = length(noise, "linf")
        nearest = noise
        for _ in range(math.ceil(-math.log2(self._tolerance(noise[0].numel())))):
            middle = (inner + outer) / 2
            shorter = noise * per_row(middle, noise) if norm == "l2" else to_linf_ball(noise, middle * limit)
            adversarial = hunt.look(rows, step, shorter).adversarial
            inner, outer = torch.where(adversarial, inner, middle), torch.where(adversarial, middle, outer)
            nearest = torch.where(per_row(adversarial, noise) > 0, shorter, nearest)
        return nearest

    def _direction(self, hunt: Hunt, step: int, rows: Tensor, noise: Tensor, reach: Tensor) -> tuple[Tensor]:
        """The direction in which more probes are adversarial, of length 1, or its signs."""
        shape = tuple(noise.shape[1:])
        total = min(int(self.probes * math.sqrt(step)), self.most_probes)
        probes_sum, weighted_sum = (torch.zeros_like(noise, dtype=torch.float64) for _ in range(2))
        adversarial_count = torch.zeros(len(rows), dtype=torch.float64, device=noise.device)
        for block in range(math.ceil(total / _BLOCK)):
            count = min(_BLOCK, total - block * _BLOCK)
            draw = Draw(self.seed, hunt.ids[rows], (step << 32) + block)
            probes = draw.normal((count, *shape)) if self.norm == "l2" else draw.uniform((count, *shape))
            probes, adversarial = self._probe(hunt, rows, step, noise, reach, probes)
            answers = 2 * adversarial.double() - 1
            adversarial_count += adversarial.sum(dim=1)
            probes_sum += probes.double().sum(dim=1)
            weighted_sum += (answers.reshape(*answers.shape, *[1] * len(shape)) * probes).sum(dim=1)
        mean = 2 * adversarial_count / total - 1
        # Where all answers are the same, their mean would leave nothing.
        baseline = torch.where(mean.abs() == 1, 0.0, mean)
        estimate = ops.unit_rows(weighted_sum - per_row(baseline, weighted_sum) * probes_sum)
        return ((estimate if self.norm == "l2" else estimate.sign()).float(),)

    def _probe(
        self, hunt: Hunt, rows: Tensor, step: int, noise: Tensor, reach: Tensor, probes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Probes [M, B, *image] as they are inside the bounds, in units of `reach`, and which are adversarial."""
        low, high = (limit.repeat_interleave(probes.shape[1], dim=0) for limit in hunt.room(rows))
        steps = ops.unit_rows(probes.flatten(0, 1)) * per_row(reach.repeat_interleave(probes.shape[1]), noise)
        start = noise.repeat_interleave(probes.shape[1], dim=0)
        changed = torch.clamp(start + steps, low, high)
        adversarial = hunt.answers(rows, step, changed.reshape(probes.shape))
        moved = (changed - start) / per_row(reach.repeat_interleave(probes.shape[1]), noise)
        return moved.reshape(probes.shape), adversarial

    def _jump(self, hunt: Hunt, rows: Tensor, step: int, noise: Tensor, direction: Tensor) -> Tensor:
        """A step along the direction, halved until the victim is fooled; where it never is, no step."""
        size = length(noise, self.norm) / math.sqrt(step)
        left = torch.arange(len(rows), device=noise.device)
        result = noise.clone()
        for _ in range(_HALVINGS):
            jumped = hunt.clip(rows[left], noise[left] + per_row(size[left], noise) * direction[left])
            adversarial = hunt.look(rows[left], step, jumped).adversarial
            result[left[adversarial]] = jumped[adversarial]
            left = left[~adversarial]
            if len(left) == 0:
                break
            size = size / 2
        return result
