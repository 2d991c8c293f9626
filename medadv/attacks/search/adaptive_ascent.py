"""Steps whose length is halved where they no longer help: the schedule of APGD."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from medadv.attacks.search.ascent import direction
from medadv.attacks.search.best import chosen, like
from medadv.perturbations import Parameters

_FIRST_CHECK, _EARLIER_BY, _LEAST_BETWEEN = 0.22, 0.03, 0.06  # of all steps
_RISING = 0.75  # of the steps between two checks must have raised the objective
_NEW = 0.75  # weight of the new step, the rest is that of the last one


class AdaptiveAscent:
    """Steps with inertia from a length that is halved, per example, at checks that come ever more often.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
    (2020). At a check the length of an example is halved if at most 75 % of the steps since the last one raised its
    objective, or if neither the length nor the best value changed since; it then goes on from its best point.

    Args:
        rule: "sign" or "l2", see `medadv.attacks.search.ascent.Ascent`.
        lengths: first length of a step for each parameter tensor, in its units.
        steps: how many will be made.

    >>> ascent = AdaptiveAscent("sign", {"noise": 0.5}, steps=100)
    >>> ascent.checks[:4]
    (22, 41, 57, 70)
    """

    inertia: ClassVar[bool] = True

    def __init__(self, rule: str, lengths: dict[str, float], steps: int) -> None:
        self.rule = rule
        self.lengths = lengths
        self.checks = _checks(steps)
        self._step = 0
        # Per example; filled at the first step.
        self._before: Parameters = {}
        self._best: Parameters = {}
        self._best_gradients: Parameters = {}
        self._rows: dict[str, Tensor] = {}

    def move(
        self,
        parameters: Parameters,
        gradients: Parameters,
        values: Tensor,
        project: Callable[[Parameters], Parameters],
    ) -> Parameters:
        """The parameters after one step uphill, inside the budget.

        Args:
            parameters: tensors [N, ...] float32.
            gradients: the same names and shapes.
            values: the objective there, [N].
            project: moves parameters into the budget.

        Returns:
            New tensors of the same names and shapes.
        """
        parameters, gradients = self._look_back(parameters, gradients, values)
        scale = self._rows["scale"]
        ahead = project(
            {
                name: value + self.lengths[name] * like(scale, value) * self._direction(gradients[name])
                for name, value in parameters.items()
            }
        )
        if self._step > 0 and self.inertia:
            ahead = project({name: self._with_inertia(name, parameters[name], ahead[name]) for name in ahead})
        self._before = parameters
        self._step += 1
        return ahead

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these.

        Args:
            rows: bool [N].
        """
        for memory in (self._before, self._best, self._best_gradients, self._rows):
            memory.update({name: values[rows] for name, values in memory.items()})

    def _direction(self, gradient: Tensor) -> Tensor:
        return direction(self.rule, gradient)

    def _with_inertia(self, name: str, here: Tensor, ahead: Tensor) -> Tensor:
        return here + _NEW * (ahead - here) + (1 - _NEW) * (here - self._before[name])

    def _look_back(
        self, parameters: Parameters, gradients: Parameters, values: Tensor
    ) -> tuple[Parameters, Parameters]:
        """Note the best point, and go back to it where the length is halved."""
        if self._step == 0:
            self._best, self._best_gradients = dict(parameters), dict(gradients)
            self._rows = {"value": values, "best": values, "scale": torch.ones_like(values), **self._first(values)}
            return parameters, gradients
        rows = self._rows
        better = values > rows["best"]
        self._best = chosen(better, parameters, self._best)
        self._best_gradients = chosen(better, gradients, self._best_gradients)
        self._note(values)
        rows["value"], rows["best"] = values, torch.where(better, values, rows["best"])
        if self._step not in self.checks:
            return parameters, gradients
        back = self._check()
        return chosen(back, self._best, parameters), chosen(back, self._best_gradients, gradients)

    def _first(self, values: Tensor) -> dict[str, Tensor]:
        """What is remembered per example besides its values, before the first step."""
        return {
            "best at check": values,
            "rises": torch.zeros_like(values),
            "halved": torch.ones_like(values, dtype=torch.bool),
        }

    def _note(self, values: Tensor) -> None:
        self._rows["rises"] = self._rows["rises"] + (values > self._rows["value"])

    def _check(self) -> Tensor:
        """Set the lengths anew; which examples go on from their best point."""
        rows, number = self._rows, self.checks.index(self._step)
        since = self._step - (self.checks[number - 1] if number else 0)
        stuck = ~rows["halved"] & (rows["best"] <= rows["best at check"])
        halved = (rows["rises"] <= _RISING * since) | stuck
        rows["scale"] = torch.where(halved, rows["scale"] / 2, rows["scale"])
        rows["halved"], rows["best at check"] = halved, rows["best"]
        rows["rises"] = torch.zeros_like(rows["rises"])
        return halved


def _checks(steps: int) -> tuple[int, ...]:
    """Numbers of the steps before which the length is looked at."""
    between, least = max(int(_FIRST_CHECK * steps), 1), max(int(_LEAST_BETWEEN * steps), 1)
    found = [between]
    while found[-1] < steps:
        between = max(between - max(int(_EARLIER_BY * steps), 1), least)
        found.append(found[-1] + between)
    return tuple(check for check in found if check < steps)
