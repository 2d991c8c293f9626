"""The decision boundary of a model, linearised at an image: one hyperplane per rival class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv.attacks.gradients import jacobian
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.attacks.minimum_norm.hyperplane import to_hyperplane
from medadv.attacks.minimum_norm.length import length, positive

OVERSHOOT = 0.02  # of DeepFool
CLASSES = 10  # that DeepFool considers


@dataclass(frozen=True, eq=False)
class Boundary:
    """Where, to first order, a rival class leads by what is needed.

    Attributes:
        weight: [M, R, *image], gradient of the rival's lead.
        rise: [M, R], by how much that lead must rise.
    """

    weight: Tensor
    rise: Tensor

    @classmethod
    def of(
        cls, hunt: Hunt, rows: Tensor, step: int, noise: Tensor, logits: Tensor, others: Tensor, going: Tensor
    ) -> Boundary:
        """Linearise at images that were just looked at.

        Args:
            hunt: what is hunted.
            rows: [L] int64, the examples.
            step: steps made so far.
            noise: [L, C, *S], a leaf from which `logits` were computed; or a flow [L, D, *S].
            logits: [L, K].
            others: [L, R] int64, rival classes.
            going: bool [L], the M images to linearise at.

        Returns:
            M rows.
        """
        gaps = leads(logits, hunt.targets[rows]).gather(1, others)
        # Rows that are done weigh nothing, so that no gradient is taken for them.
        weight = jacobian(gaps[going], noise)[going]
        weight = hunt.differentiated(rows[going], step, weight, times=others.shape[1])
        return cls(weight, hunt.needed[rows[going]].unsqueeze(1) - gaps[going].detach())

    def of_class(self, number: Tensor) -> Boundary:
        """One hyperplane per image.

        Args:
            number: [M] int64, which of the rivals.

        Returns:
            With R of 1.
        """
        return Boundary(chosen(self.weight, number).unsqueeze(1), chosen(self.rise, number).unsqueeze(1))

    def seen_from(self, move: Tensor) -> Boundary:
        """The same hyperplanes from another image.

        Args:
            move: [M, *image], the other image - the one where it was linearised.

        Returns:
            With another rise.
        """
        along = (self.weight.double() * move.double().unsqueeze(1)).flatten(2).sum(dim=2)
        return Boundary(self.weight, self.rise.double() - along)

    def straight_moves(self, low: Tensor, high: Tensor, norm: str) -> tuple[Tensor, Tensor]:
        """The shortest change to each hyperplane, through the walls of the box if need be, and its length.

        Args:
            low, high: [M, *image], low <= 0 <= high.
            norm: "linf" or "l2".

        Returns:
            [M, R, *image] float32 of length 1, zeros where the weight is zero, and [M, R] float64: how far to go that
            way; infinite where no point of the box is as far as the hyperplane.
        """
        weight, rise = self.weight.flatten(2).double(), self.rise.double()
        low, high = (limit.flatten(1).double().unsqueeze(1) for limit in (low, high))
        reached = torch.where(weight > 0, weight * high, weight * low).sum(dim=2) >= rise
        way = weight if norm == "l2" else weight.sign()
        way = way / positive(length(way.flatten(0, 1), norm)).reshape(*rise.shape, 1)
        pace = (weight * way).sum(dim=2)
        far = torch.where(reached & (pace > 0), rise / positive(pace), torch.inf)
        return way.float().reshape(self.weight.shape), far

    def moves(self, low: Tensor, high: Tensor, norm: str) -> tuple[Tensor, Tensor]:
        """The shortest change to each hyperplane inside a box, and what it costs.

        Args:
            low, high: [M, *image], low <= 0 <= high.
            norm: "linf", "l2", "l1" or "l0".

        Returns:
            [M, R, *image] float32, and [M, R] float64: their lengths; where the box is too small to reach the
            hyperplane, the length divided by the share of the way that was made.
        """
        count, classes = self.rise.shape
        weight = self.weight.reshape(count * classes, -1).double()
        low, high = (limit.flatten(1).repeat_interleave(classes, dim=0) for limit in (low, high))
        rise = self.rise.double().flatten()
        moves = to_hyperplane(weight, rise, low, high, norm)
        share = (weight * moves).sum(dim=1) / torch.where(rise == 0, 1.0, rise)
        cost = torch.where(share > 0, length(moves, norm) / share.clamp(1e-300, 1.0), torch.inf)
        cost = torch.where(rise == 0, 0.0, cost)
        return moves.float().reshape(self.weight.shape), cost.reshape(count, classes)


def first_guess(hunt: Hunt, classes: int) -> Tensor:
    """The change that DeepFool makes in its first step: just across the nearest boundary, seen from the clean image.

    An attack that follows the margin alone goes for the class with the highest logit, which need not be the nearest.

    Args:
        hunt: what is hunted; one forward pass and one backward pass per rival class are counted.
        classes: how many of the most likely classes are considered, the right one included.

    Returns:
        [M, C, *S] for the rows of the hunt, zeros where there is no gradient.
    """
    rows = hunt.rows
    noise = torch.zeros_like(hunt.images[rows]).requires_grad_()
    logits, adversarial = hunt.look(rows, 0, noise)
    others = rivals(hunt.logits[rows], hunt.targets[rows], classes - 1)
    boundary = Boundary.of(hunt, rows, 0, noise, logits, others, torch.ones_like(adversarial))
    moves, costs = boundary.moves(*hunt.room(rows), hunt.norm)
    return hunt.clip(rows, (1 + OVERSHOOT) * chosen(moves, costs.argmin(dim=1)))


def chosen(values: Tensor, classes: Tensor) -> Tensor:
    """One of the rival classes of each row.

    Args:
        values: [M, R, ...].
        classes: [M] int64, from 0 to R - 1.

    Returns:
        [M, ...].

    >>> chosen(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0])).tolist()
    [2.0, 3.0]
    """
    return values[torch.arange(len(values), device=values.device), classes]


def rivals(logits: Tensor, targets: Tensor, count: int) -> Tensor:
    """The most likely wrong answers: classes, or findings.

    Args:
        logits: [M, K].
        targets: [M] int64, or [M, K] of 0 and 1.
        count: how many, at least 1.

    Returns:
        [M, R] int64, the most likely first; R = count, or as many as there are where that is less.

    >>> rivals(torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([1]), 9)
    tensor([[2, 0]])
    >>> rivals(torch.tensor([[1.0, 5.0, -3.0]]), torch.tensor([[1, 1, 0]]), 2)
    tensor([[0, 2]])
    """
    answers = logits.shape[1] - (targets.ndim == 1)
    return leads(logits.detach(), targets).topk(min(count, answers), dim=1).indices


def leads(logits: Tensor, targets: Tensor) -> Tensor:
    """By how much each wrong answer leads the right one: the largest is the margin.

    Args:
        logits: [M, K].
        targets: [M] int64, or [M, K] of 0 and 1: then a finding's own logit, with its sign turned where it is there.

    Returns:
        [M, K]; minus infinity for the right class.

    >>> leads(torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([1])).tolist()
    [[-4.0, -inf, -2.0]]
    >>> leads(torch.tensor([[1.0, 5.0, -3.0]]), torch.tensor([[1, 1, 0]])).tolist()
    [[-1.0, -5.0, -3.0]]
    """
    if targets.ndim == 2:
        return logits * (1 - 2 * targets)
    right = targets.unsqueeze(1)
    return (logits - logits.gather(1, right)).scatter(1, right, -torch.inf)
