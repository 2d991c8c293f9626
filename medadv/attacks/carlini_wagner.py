"""Carlini and Wagner's L2 attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.minimum_norm.boundary import CLASSES, first_guess
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.attacks.minimum_norm.length import length, per_row
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormGradientAttack
from medadv.attacks.progress import told
from medadv.objectives.margin import margin_shares

# Constants of the authors' code.
_PATIENCE = 0.9999  # the loss must fall below this share of itself in a tenth of the steps

# How near to the bounds, from -1 to 1, the hyperbolic tangent starts. Nearer, black and white voxels could hardly move.
_INSIDE = 0.99
_FINAL_SEARCHES = 3

# Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
_ADAM_DECAY = (0.9, 0.999)
_ADAM_EPSILON = 1e-8


@dataclass(frozen=True, repr=False)
class CarliniWagner(MinimumNormGradientAttack):
    """Adam on the squared length of the noise plus a weight times what the margin lacks, the weight searched per image.

    Carlini and Wagner, "Towards evaluating the robustness of neural networks" (2017), the L2 attack with the constants
    of the authors' code: images as a hyperbolic tangent, which cannot leave the bounds; a rate of 0.01; 9 weights from
    0.001, ten times larger until one succeeds, then halving the interval; a search ends when its loss has stopped
    falling. Ours: 1000 steps per weight where the code makes up to 10000; the noise is the change of the tangent, which
    starts well inside the bounds, so that black voxels can move; DeepFool's first step is looked at too; and 3 final
    searches along the line to the clean image.

    Args:
        weight: the first weight of the margin, above 0.
        searches: how many weights are tried, at least 1.
        rate: Adam's rate, above 0.
        confidence: the paper's kappa, at least 0: a wrong logit must exceed the right one by so much, for finds that
            other models share.
        steps: per weight, at least 1.
        kappa: see `MinimumNormGradientAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> attack = CarliniWagner(weight=10.0, searches=1, steps=50)
    >>> bool(attack(Victim(net), images, net(images).argmax(1)).success.all())
    True
    """

    name: ClassVar[str] = "carlini-wagner"

    weight: float = 1e-3
    searches: int = 9
    rate: float = 0.01
    confidence: float = 0.0
    steps: int = field(default=1000, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weight", _arguments.real(self.weight, "weight", above=0))
        object.__setattr__(self, "searches", _arguments.whole(self.searches, "searches", at_least=1))
        object.__setattr__(self, "rate", _arguments.real(self.rate, "rate", above=0))
        object.__setattr__(self, "confidence", _arguments.real(self.confidence, "confidence", at_least=0))

    @property
    def measure(self) -> str:
        return "l2"

    def _needed(self, clean_logits: Tensor) -> Tensor:
        return super()._needed(clean_logits).clamp_min(self.confidence)

    def _chase(self, hunt: Hunt) -> None:
        rows = hunt.rows
        for pack in hunt.packs(rows):
            guess, _ = first_guess(hunt, pack, CLASSES)
            with torch.no_grad():
                hunt.look(pack, 1, guess)
        weight = torch.full_like(hunt.needed[rows], self.weight, dtype=torch.float64)
        smallest, largest = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        for search in told(range(self.searches)):
            found = self._descend(hunt, search, weight)
            smallest, largest = torch.where(found, smallest, weight), torch.where(found, weight, largest)
            weight = next_weights(smallest, largest)
        hunt.shorten(rows, self.searches * self.steps, _FINAL_SEARCHES)

    def _descend(self, hunt: Hunt, search: int, weights: Tensor) -> Tensor:
        """Search with one weight per image; whether an adversarial image was seen."""
        rows, scale = hunt.rows, hunt.victim.scale
        found = torch.zeros_like(weights, dtype=torch.bool)
        places = torch.arange(len(weights), device=weights.device)
        start = _inverse(hunt, rows)
        descent, start = _Adam(self.rate, start), start.tanh()
        before = torch.full_like(weights, torch.inf)
        for step in told(range(self.steps)):
            tangent = descent.values.tanh()
            noise = (tangent - start).mul_(scale / 2)
            checked = step % max(self.steps // 10, 1) == 0
            limit = _PATIENCE * before if checked else torch.full_like(before, torch.inf)
            adversarial, loss, gradient = hunt.in_packs(
                partial(self._slopes, hunt, search * self.steps + step), rows, noise, weights[places], limit
            )
            found[places] |= adversarial
            if checked:
                going = loss <= limit
                if not bool(going.any()):
                    return found
                rows, places, start, before = rows[going], places[going], start[going], loss[going]
                tangent, noise, gradient = tangent[going], noise[going], gradient[going]
                descent.keep(going)
            # With the slopes of the squared length, in units of the image range, and of the tangent.
            gradient = gradient.add_(noise, alpha=2 / scale**2).mul_(scale / 2).mul_(1 - tangent.square_())
            descent.move(gradient)
        with torch.no_grad():
            noise = (descent.values.tanh() - start).mul_(scale / 2)
            found[places] |= hunt.look(rows, (search + 1) * self.steps, noise).adversarial
        return found

    def _slopes(
        self, hunt: Hunt, step: int, rows: Tensor, noise: Tensor, weights: Tensor, limit: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Which images are adversarial, their loss, and the slopes of what their margin lacks times the weights.

        No gradient is taken of images whose loss is above the limit, nor where the margin lacks nothing.
        """
        sight = hunt.look(rows, step, noise)
        lacking = hunt.needed[rows] - sight.margin
        loss = (length(noise, "l2") / hunt.victim.scale).square_() + weights * lacking.clamp_min(0)
        taken = (lacking > 0) & (loss <= limit)
        if not bool(taken.any()):
            return sight.adversarial, loss, hunt.differentiated(rows, step, torch.zeros_like(noise), taken)
        shares = margin_shares(sight.logits.detach(), hunt.examples(rows).targets)
        slope = sight.slope(sight.logits, shares.mul_(-per_row(weights * taken, shares)))
        return sight.adversarial, loss, hunt.differentiated(rows, step, slope, taken)


def next_weights(smallest: Tensor, largest: Tensor) -> Tensor:
    """The weights to be tried next.

    Args:
        smallest: [M], the largest weights that were too small.
        largest: [M], the smallest weights that were large enough; infinite where none was.

    Returns:
        [M]: the middle, or ten times the smallest.

    >>> next_weights(torch.tensor([0.1, 0.0, 0.1]), torch.tensor([torch.inf, 0.1, 0.3])).tolist()
    [1.0, 0.05..., 0.2...]
    """
    return torch.where(largest.isinf(), 10 * smallest, (smallest + largest) / 2)


def _inverse(hunt: Hunt, rows: Tensor) -> Tensor:
    """The values whose hyperbolic tangent is the clean image, drawn into the bounds."""
    low, _ = hunt.victim.bounds
    share = (hunt.images[rows].double() - low) / hunt.victim.scale
    return (_INSIDE * (2 * share - 1).clamp(-1, 1)).atanh().float()


class _Adam:
    """Adam, row by row, downhill."""

    def __init__(self, rate: float, values: Tensor) -> None:
        self.rate = rate
        self.values = values.clone()
        self._mean = torch.zeros_like(values)
        self._square = torch.zeros_like(values)
        self._steps = 0

    def move(self, gradient: Tensor) -> None:
        self._steps += 1
        first, second = _ADAM_DECAY
        self._mean.mul_(first).add_(gradient, alpha=1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (self._square / (1 - second**self._steps)).sqrt_().add_(_ADAM_EPSILON)
        self.values.addcdiv_(self._mean, size, value=-self.rate / (1 - first**self._steps))

    def keep(self, rows: Tensor) -> None:
        if not bool(rows.all()):
            self.values, self._mean, self._square = (values[rows] for values in (self.values, self._mean, self._square))
