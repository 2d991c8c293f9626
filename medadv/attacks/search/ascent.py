"""Rules that turn a gradient into a step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medadv import ops
from medadv.perturbations import Parameters

RULES = ("sign", "l2", "l1", "adam")

# Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
_ADAM_DECAY = (0.9, 0.999)
_ADAM_EPSILON = 1e-8

# Tramer and Boneh, "Adversarial training and robustness for multiple perturbations" (2019): the 99th percentile.
_SPARSE = 0.01


class Ascent:
    """Steps of one length per parameter tensor, row by row; a row with a zero gradient does not move.

    "sign": the sign of each entry. "l2": the direction of the gradient of an example, of length 1. "l1": the signs of
    the one per cent largest entries of an example, at least one, each divided by their number (SLIDE). "adam": Adam on
    gradients that are first scaled to a largest entry of 1 per example (ours: Adam's epsilon is then free of units).
    With momentum > 0 the gradient is replaced by a running sum of gradients, each divided by its L1 norm, that decays
    by `momentum` (MI-FGSM: Dong et al., "Boosting adversarial attacks with momentum", 2018).

    Args:
        rule: "sign", "l2", "l1" or "adam".
        lengths: length of a step for each parameter tensor, in its units.
        momentum: decay of the running sum, at least 0.

    >>> ascent = Ascent("sign", {"noise": 0.5}, momentum=0.0)
    >>> ascent.move({"noise": torch.zeros(1, 3)}, {"noise": torch.tensor([[2.0, 0.0, -1.0]])})
    {'noise': tensor([[ 0.5000,  0.0000, -0.5000]])}
    """

    def __init__(self, rule: str, lengths: dict[str, float], momentum: float) -> None:
        self.rule = rule
        self.lengths = lengths
        self.momentum = momentum
        self._steps = 0
        self._memory: dict[str, list[Tensor]] = {}

    def move(self, parameters: Parameters, gradients: Parameters) -> Parameters:
        """The parameters after one step uphill.

        Args:
            parameters: tensors [N, ...] float32.
            gradients: the same names and shapes.

        Returns:
            New tensors of the same names and shapes.
        """
        self._steps += 1
        moved = {}
        for name, values in parameters.items():
            direction = self._direction(name, gradients[name])
            # Into a tensor that is there: fresh memory costs more than the sum.
            moved[name] = torch.add(values.detach(), direction, alpha=self.lengths[name], out=direction)
        return moved

    def followed(self, gradients: Parameters) -> Parameters:
        """What a step that is made elsewhere follows, in place of `move`: the gradients, or their running sums."""
        if self.momentum == 0:
            return gradients
        return {name: self._accumulate(name, gradient) for name, gradient in gradients.items()}

    def ahead(self, parameters: Parameters) -> Parameters:
        """Where the running sum alone would lead, a gradient with entries of one size by one step of the rule.

        The look-ahead of Lin et al., "Nesterov accelerated gradient and scale invariance for adversarial attacks"
        (2020). For sign steps the gradients are divided by the mean of their sizes, as in the authors' code, not by the
        sum: that would be no step at all. The same for the other rules is ours.

        Args:
            parameters: tensors [N, ...] float32.

        Returns:
            New tensors; the same values before the first step.
        """
        if not self._memory:
            return parameters
        power = {"sign": 1.0, "l2": 0.5, "l1": 0.0}[self.rule]
        return {
            name: values + self.lengths[name] * self.momentum * values[0].numel() ** power * self._memory[name][0]
            for name, values in parameters.items()
        }

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these.

        Args:
            rows: bool [N].
        """
        self._memory = {name: [values[rows] for values in memory] for name, memory in self._memory.items()}

    def _direction(self, name: str, gradient: Tensor) -> Tensor:
        if self.rule == "adam":
            return self._adam(name, gradient)
        if self.momentum > 0:
            gradient = self._accumulate(name, gradient)
        return direction(self.rule, gradient)

    def _accumulate(self, name: str, gradient: Tensor) -> Tensor:
        total = ops.unit_rows(gradient, "l1")
        if name in self._memory:
            total.add_(self._memory[name][0], alpha=self.momentum)
        self._memory[name] = [total]
        return total

    def _adam(self, name: str, gradient: Tensor) -> Tensor:
        gradient = ops.unit_rows(gradient, "linf")
        mean, square = self._memory.get(name, [torch.zeros_like(gradient), torch.zeros_like(gradient)])
        first, second = _ADAM_DECAY
        mean = first * mean + (1 - first) * gradient
        square = second * square + (1 - second) * gradient**2
        self._memory[name] = [mean, square]
        unbiased_mean = mean / (1 - first**self._steps)
        unbiased_square = square / (1 - second**self._steps)
        return unbiased_mean / (unbiased_square.sqrt() + _ADAM_EPSILON)


def direction(rule: str, gradient: Tensor) -> Tensor:
    """The step of length 1 that a rule without a memory makes of a gradient.

    Args:
        rule: "sign", "l2" or "l1".
        gradient: [N, ...] float32.

    Returns:
        The same shape.

    >>> direction("l1", torch.tensor([[0.5, -2.0, 1.0]]))
    tensor([[ 0., -1.,  0.]])
    """
    if rule == "sign":
        return gradient.sign()
    return ops.unit_rows(gradient, "l2") if rule == "l2" else _sparse(gradient)


def _sparse(gradient: Tensor) -> Tensor:
    count = math.ceil(_SPARSE * gradient[0].numel())
    return sparse(gradient, torch.full((len(gradient),), count, device=gradient.device))


def sparse(gradient: Tensor, counts: Tensor) -> Tensor:
    """The signs of the largest entries of each row, divided by their number: a step of length 1 in the L1 norm.

    Args:
        gradient: [N, ...] float32.
        counts: [N] int64, how many entries, at least 1; those as large as the last one are taken too.

    Returns:
        The same shape; a row of zeros stays.

    >>> sparse(torch.tensor([[0.5, -2.0, 1.0]]), torch.tensor([2]))
    tensor([[ 0.0000, -0.5000,  0.5000]])
    """
    size = gradient.abs().flatten(1)
    largest = size.topk(int(counts.max()), dim=1).values
    smallest = largest.gather(1, counts.unsqueeze(1) - 1)
    chosen = (size >= smallest) & (size > 0)
    share = chosen / _positive(chosen.sum(dim=1, keepdim=True).float())
    return gradient.sign() * share.reshape(gradient.shape)


def _positive(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, torch.ones_like(values))
