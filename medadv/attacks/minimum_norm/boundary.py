"""The decision boundary of a model, linearised at an image: one hyperplane per rival class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv import ops
from medadv.attacks.minimum_norm.hunt import Hunt, Sight
from medadv.attacks.minimum_norm.hyperplane import to_hyperplane
from medadv.attacks.minimum_norm.length import dual_length, length, positive
from medadv.attacks.record import some

OVERSHOOT = 0.02  # of DeepFool
CLASSES = 10  # that DeepFool considers


@dataclass(frozen=True, eq=False)
class Boundary:
    """Where, to first order, a rival class leads by what is needed.

    Attributes:
        weight: [M, R, *image], gradient of the rival's lead.
        rise: [M, R] float64, by how much that lead must rise.
    """

    weight: Tensor
    rise: Tensor

    @classmethod
    def at(cls, hunt: Hunt, rows: Tensor, step: int, change: Tensor, others: Tensor) -> Boundary:
        """Show images to the victim and linearise there; one pass forward, and one backward per rival class.

        Args:
            hunt: what is hunted.
            rows: [M] int64, the examples.
            step: steps made so far.
            change: noise [M, C, *S], or a flow [M, D, *S]; see `Hunt.look`.
            others: [M, R] int64, rival classes.

        Returns:
            M rows.
        """
        return cls._seen(hunt, rows, step, hunt.look(rows, step, change), others)

    @classmethod
    def at_clean(cls, hunt: Hunt, rows: Tensor, others: Tensor) -> Boundary:
        """As `at` the clean images, without a pass forward where the hunt knows one, see `Hunt.look_at_clean`.

        Args:
            hunt, rows, others: as for `at`.

        Returns:
            M rows.
        """
        return cls._seen(hunt, rows, 0, hunt.look_at_clean(rows), others)

    @classmethod
    def _seen(cls, hunt: Hunt, rows: Tensor, step: int, sight: Sight, others: Tensor) -> Boundary:
        targets = hunt.examples(rows).targets
        shares = _shares(sight.logits, targets, others)
        count = others.shape[1]
        # Faster on the CPU than one pass through `torch.vmap` (1.6x for a small residual network and 9 classes), and
        # possible for models with operations that cannot be batched.
        weight = torch.stack(
            [sight.slope(sight.logits, shares[:, rival], rival < count - 1) for rival in range(count)], dim=1
        )
        hunt.differentiated(rows, step, weight, times=count)
        gaps = leads(sight.logits.detach(), targets).gather(1, others)
        return cls(weight, some(hunt.needed, rows).unsqueeze(1).double() - gaps)

    def of_rows(self, rows: Tensor) -> Boundary:
        """That of some images.

        Args:
            rows: int64 or bool, which of the M.

        Returns:
            With fewer rows.
        """
        return Boundary(self.weight[rows], self.rise[rows])

    def of_classes(self, which: slice) -> Boundary:
        """That of some rival classes.

        Args:
            which: of the R.

        Returns:
            With fewer of them.
        """
        return Boundary(self.weight[:, which], self.rise[:, which])

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
        along = (self.weight * move.unsqueeze(1)).flatten(2).sum(dim=2, dtype=torch.float64)
        return Boundary(self.weight, self.rise - along)

    def straight_move(self, low: Tensor, high: Tensor, norm: str) -> tuple[Tensor, Tensor]:
        """The way to the nearest hyperplane, through the walls of the box if need be, and its length.

        Args:
            low, high: [M, *image], low <= 0 <= high.
            norm: "linf" or "l2".

        Returns:
            [M, *image] of length 1, or zeros, and [M] float64: how far to go that way; infinite where no point of the
            box is as far as any of the hyperplanes.
        """
        far = self._distances(norm)
        while True:
            nearest = far.argmin(dim=1)
            found = self.of_class(nearest)
            out_of_reach = found._reach(low, high) < found.rise.squeeze(1)
            distance = chosen(far, nearest)
            if not bool((out_of_reach & distance.isfinite()).any()):
                break
            far = far.scatter(1, nearest.unsqueeze(1), torch.where(out_of_reach, torch.inf, distance).unsqueeze(1))
        weight = found.weight.squeeze(1)
        return ops.unit_rows(weight) if norm == "l2" else weight.sign(), distance

    def nearest_move(self, low: Tensor, high: Tensor, norm: str) -> tuple[Tensor, Tensor]:
        """The shortest change inside a box to any of the hyperplanes.

        Only classes that may be nearer than the one that is nearest without the box are looked at.

        Args:
            low, high: [M, *image], low <= 0 <= high.
            norm: "linf", "l2", "l1" or "l0".

        Returns:
            [M, *image], and [M] int64, to which of the rivals.
        """
        far = self._distances(norm)
        first = far.argmin(dim=1)
        moves, cost = self.of_class(first).moves(low, high, norm)
        rows, classes = (far < cost.unsqueeze(1)).scatter(1, first.unsqueeze(1), False).nonzero(as_tuple=True)
        if len(rows) == 0:
            return moves, first
        others = Boundary(self.weight[rows, classes].unsqueeze(1), self.rise[rows, classes].unsqueeze(1))
        other_moves, other_costs = others.moves(low[rows], high[rows], norm)
        costs = torch.full_like(far, torch.inf)
        costs[torch.arange(len(costs), device=costs.device), first], costs[rows, classes] = cost, other_costs
        nearest = costs.argmin(dim=1)
        better = (nearest[rows] == classes).nonzero().flatten()
        return moves.index_copy(0, rows[better], other_moves[better]), nearest

    def moves(self, low: Tensor, high: Tensor, norm: str) -> tuple[Tensor, Tensor]:
        """The shortest change inside a box to a single hyperplane, and what it costs; R must be 1.

        Args:
            low, high: [M, *image], low <= 0 <= high.
            norm: "linf", "l2", "l1" or "l0".

        Returns:
            [M, *image], and [M] float64: their lengths; where the box is too small to reach the hyperplane, the length
            divided by the share of the way that was made.
        """
        weight, rise = self.weight.flatten(1), self.rise.squeeze(1)
        moves = to_hyperplane(weight, rise, low.flatten(1), high.flatten(1), norm)
        share = (weight * moves).sum(dim=1, dtype=torch.float64) / torch.where(rise == 0, 1.0, rise)
        cost = torch.where(share > 0, length(moves, norm) / share.clamp(1e-300, 1.0), torch.inf)
        return moves.reshape(low.shape), torch.where(rise == 0, 0.0, cost)

    def _distances(self, norm: str) -> Tensor:
        """How far each hyperplane is where there is no box, [M, R] float64; 0, which is less, for "l0"."""
        if norm == "l0":
            return torch.zeros_like(self.rise)
        pace = dual_length(self.weight.flatten(0, 1), norm).reshape(self.rise.shape)
        return torch.where(pace > 0, self.rise.abs() / positive(pace), torch.inf)

    def _reach(self, low: Tensor, high: Tensor) -> Tensor:
        """By how much the lead can rise inside a box, [M] float64; R must be 1."""
        weight = self.weight.squeeze(1)
        return torch.maximum(weight * low, weight * high).flatten(1).sum(dim=1, dtype=torch.float64)


def _shares(logits: Tensor, targets: Tensor, others: Tensor) -> Tensor:
    """The share [M, R, K] that each logit has in the lead of each rival class."""
    shares = logits.new_zeros(*others.shape, logits.shape[1])
    if targets.ndim == 2:
        return shares.scatter_(2, others.unsqueeze(2), (1.0 - 2.0 * targets).gather(1, others).unsqueeze(2))
    right = targets.reshape(-1, 1, 1).expand(-1, others.shape[1], 1)
    return shares.scatter_(2, others.unsqueeze(2), 1.0).scatter_(2, right, -1.0)


def first_guess(hunt: Hunt, rows: Tensor, classes: int) -> tuple[Tensor, int]:
    """The change that DeepFool makes in its first step: just across the nearest boundary, seen from the clean image.

    An attack that follows the margin alone goes for the class with the highest logit, which need not be the nearest.

    Args:
        hunt: what is hunted; one forward pass and one backward pass per rival class are counted.
        rows: [M] int64, the examples, no more than the victim is shown at once.
        classes: how many of the most likely classes are considered, the right one included.

    Returns:
        [M, C, *S], zeros where there is no gradient; and how many rival classes there were.
    """
    guess, _, count = guess_and_gradient(hunt, rows, classes)
    return guess, count


def guess_and_gradient(hunt: Hunt, rows: Tensor, classes: int) -> tuple[Tensor, Tensor, int]:
    """As `first_guess`, with the direction that leads there.

    Args:
        hunt, rows, classes: as for `first_guess`.

    Returns:
        The guess; the gradient [M, C, *S] of the nearest class's lead, at the clean image; and how many rival classes
        there were.
    """
    others = rivals(hunt.logits[rows], hunt.targets[rows], classes - 1)
    boundary = Boundary.at_clean(hunt, rows, others)
    move, nearest = boundary.nearest_move(*hunt.room(rows), hunt.norm)
    return hunt.clip(rows, move.mul_(1 + OVERSHOOT)), chosen(boundary.weight, nearest), others.shape[1]


def classes_for(steps: int) -> int:
    """How many classes a first guess considers, so that it takes at most half of the gradients of an attack.

    Args:
        steps: how many gradients an attack may take, at least 1.

    Returns:
        From 2 to 10, the right one included.

    >>> [classes_for(steps) for steps in (1, 6, 100)]
    [2, 4, 10]
    """
    return min(1 + max(steps // 2, 1), CLASSES)


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
