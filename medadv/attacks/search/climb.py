"""The loop of a search: show the images, take gradients, step, and let go of what is fooled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medadv.attacks.gradients import NO_GRADIENT
from medadv.attacks.randomness import Draw
from medadv.attacks.record import Record
from medadv.attacks.search.adaptive_ascent import AdaptiveAscent
from medadv.attacks.search.ascent import Ascent
from medadv.attacks.search.best import Best
from medadv.attacks.search.clean_pass import CleanPass
from medadv.attacks.search.estimate import Estimate, Slope, View
from medadv.attacks.search.sparse_ascent import SparseAscent
from medadv.models.features import Features
from medadv.models.victim import Victim
from medadv.objectives.objective import Objective, Situation, layers_of, value_at
from medadv.perturbations import Parameters, Perturbation
from medadv.perturbations.perturbation import Bounds

if TYPE_CHECKING:
    from medadv.attacks.search.search import Search


@dataclass(frozen=True)
class _Place:
    """The rows of a batch that a restart still works on, and where it stands."""

    restart: int
    step: int
    rows: Tensor
    images: Tensor
    before: Tensor | None

    def only(self, rows: Tensor) -> _Place:
        before = None if self.before is None else self.before[rows]
        return replace(self, rows=self.rows[rows], images=self.images[rows], before=before)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Images [M, C, *S] that were shown to the victim, what it said, and a way to ask it about others."""

    images: Tensor
    logits: Tensor
    features: Features
    ask: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Climb:
    """One restart after the other on the rows of a batch that still withstand.

    Args:
        search, perturbation, objective, victim, images, targets, ids, clean_logits: as for `maximise`.
        goals: [N], the classes that the images must be taken for; None where any wrong answer is a success.
        record: what was seen.
    """

    search: Search
    perturbation: Perturbation
    objective: Objective
    victim: Victim
    images: Tensor
    targets: Tensor
    ids: Tensor
    clean_logits: Tensor
    goals: Tensor | None
    record: Record

    def run(self, restart: int, rows: Tensor, first: CleanPass | None = None) -> None:
        """Search once from one start.

        Args:
            restart: its number, from 0.
            rows: [M] int64, the examples.
            first: the pass of all clean images, where the search starts there and it still has its graph.

        Raises:
            ValueError: the objective or its gradient is not finite, or the model gives no gradient to its input.
        """
        search = self.search
        draw = Draw(search.seed, self.ids[rows], restart)
        place = _Place(restart, 0, rows, self.images[rows], before=None)
        place, parameters = self._start(place, draw)
        if len(place.rows) == 0:
            return
        own: Parameters | None
        steps = _Steps(search, self.perturbation, self.victim.bounds)
        at_the_image = search.gradient.at_the_image(self.victim)
        for step in range(search.steps):
            place = replace(place, step=step)
            parameters = _leaves(parameters)
            if first is not None and step == 0:
                value, own = self._at_the_clean_images(place, first)
                changed, going = place.images, torch.ones_like(rows, dtype=torch.bool)
            else:
                value, changed, wrong = self._look(place, parameters, at_the_image)
                going = ~wrong if search.stop_early else torch.ones_like(wrong)
                if not bool(going.any()):
                    return
                own = self._gradients(place, value, going, parameters) if at_the_image else None
            if not bool(going.all()):
                place, value, changed = place.only(going), value[going], changed[going]
                parameters = _only(parameters, going)
                own = None if own is None else _only(own, going)
                steps.keep(going)
                draw.keep(going)
            parameters = {name: values.detach() for name, values in parameters.items()}
            slope = partial(self._slope, place)
            parameters = steps.move(place.images, parameters, own, value.detach(), slope, draw)
            place = replace(place, before=changed)
        self._look(replace(place, step=search.steps), parameters, differentiable=False)

    def _start(self, place: _Place, draw: Draw) -> tuple[_Place, Parameters]:
        """The rows that are left after a look at random points, and where they start."""
        if not self.search.random_start:
            return place, self.perturbation.identity(place.images)
        parameters = self.perturbation.random(place.images, draw, self.victim.bounds)
        if self.search.draws == 1:
            return place, parameters
        best = Best()
        for number in range(self.search.draws):
            if number > 0:
                parameters = self.perturbation.random(place.images, draw, self.victim.bounds)
            value, _, wrong = self._look(place, parameters, differentiable=False)
            best.see(parameters, value)
            if self.search.stop_early and bool(wrong.any()):
                place = place.only(~wrong)
                best.keep(~wrong)
                draw.keep(~wrong)
            if len(place.rows) == 0:
                break
        return place, best.parameters

    def _at_the_clean_images(self, place: _Place, first: CleanPass) -> tuple[Tensor, Parameters]:
        """The value and its gradient where the victim has answered already; what it answered is on record."""
        rows = place.rows
        features = {layer: values[rows] for layer, values in first.features.items()}
        seen = _Seen(
            first.images[rows], first.logits[rows], features, partial(self._ask, place, _as_it_is, self.victim)
        )
        value = self._value(place, _only(first.parameters, rows), seen)
        self.record.loss[rows] = value.detach()
        everyone = torch.ones_like(value, dtype=torch.bool)
        return value, self._gradients(place, value, everyone, first.parameters, rows)

    def _look(self, place: _Place, parameters: Parameters, differentiable: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Show the images to the victim and write down what it says: the value raised, the images, who is fooled."""
        with torch.set_grad_enabled(differentiable):
            seen = self._show(place, parameters, _as_it_is, self.victim)
            value = self._value(place, parameters, seen)
        changed, logits = seen.images.detach(), seen.logits.detach()
        wrong = self._fooled(place, logits)
        predictions = self.victim.task.predict(logits)
        self.record.see(place.rows, place.step, changed, parameters, value, predictions, wrong)
        return value, changed, wrong

    def _slope(self, place: _Place, parameters: Parameters, view: View, sample: int) -> Parameters:
        """The gradient elsewhere than at the image that was looked at."""
        parameters = _leaves(parameters)
        victim = self.victim.fresh(self.search.seed, place.restart, place.step, sample)
        value = self._value(place, parameters, self._show(place, parameters, view, victim))
        self.record.forwards[place.rows] += 1
        return self._gradients(place, value, torch.ones_like(value, dtype=torch.bool), parameters)

    def _show(self, place: _Place, parameters: Parameters, view: View, victim: Victim) -> _Seen:
        changed = self.perturbation.apply(place.images, parameters, victim.bounds)
        logits, features = victim.look(view(changed), layers_of(self.objective))
        return _Seen(changed, logits, features, partial(self._ask, place, view, victim))

    def _value(self, place: _Place, parameters: Parameters, seen: _Seen) -> Tensor:
        """The value that is raised, [M]."""
        situation = Situation(
            clean=place.images,
            images=seen.images.detach(),
            before=place.before,
            clean_logits=self.clean_logits[place.rows],
            restart=place.restart,
            ask=seen.ask,
            features=seen.features,
        )
        value = value_at(self.objective, seen.logits, self.targets[place.rows], situation)
        value = value - self.perturbation.penalty(place.images, parameters)
        self._refuse_not_finite("the objective", value, place)
        return value

    def _ask(self, place: _Place, view: View, victim: Victim, images: Tensor) -> Tensor:
        self.record.forwards[place.rows] += victim.passes
        with torch.no_grad():
            return victim(view(images.clamp(*victim.bounds)))

    def _fooled(self, place: _Place, logits: Tensor) -> Tensor:
        if self.goals is None:
            return ~self.victim.correct(logits, self.targets[place.rows])
        return self.victim.task.predict(logits) == self.goals[place.rows]

    def _gradients(
        self, place: _Place, value: Tensor, going: Tensor, leaves: Parameters, rows: Tensor | None = None
    ) -> Parameters:
        """The gradient of the value to the leaves, or to those rows of them that the place works on."""
        if not value.requires_grad:
            raise ValueError(NO_GRADIENT)
        # Rows that are done weigh nothing, so that no gradient is taken for them.
        weights = going.to(value.dtype)
        gradients = torch.autograd.grad(value, list(leaves.values()), weights, allow_unused=True)
        found: Parameters = {}
        for name, gradient in zip(leaves, gradients, strict=True):
            if gradient is None:
                raise ValueError(NO_GRADIENT)
            found[name] = gradient if rows is None else gradient[rows]
            self._refuse_not_finite("the gradient", found[name], place)
        self.record.backwards[place.rows] += going
        return found

    def _refuse_not_finite(self, what: str, values: Tensor, place: _Place) -> None:
        values = values.detach()
        # A sum is finite only where all its terms are. It may also overflow: then the rows themselves decide.
        if math.isfinite(float(values.sum())):
            return
        bad = ~torch.isfinite(values).reshape(len(values), -1).all(dim=1)
        if bool(bad.any()):
            example = int(self.ids[place.rows[bad][0]])
            raise ValueError(f"{what} must be finite, got NaN or infinity for example {example} at step {place.step}.")


class _Steps:
    """From gradients to the next parameters: the estimate, the rule, and the projection."""

    def __init__(self, search: Search, perturbation: Perturbation, bounds: Bounds) -> None:
        radii = perturbation.radii(bounds)
        lengths = {name: search.step_length * radius for name, radius in radii.items()}
        self._perturbation = perturbation
        self._bounds = bounds
        self._nesterov = search.gradient.nesterov
        self._estimate = Estimate(search.gradient, radii, bounds)
        self._ascent = _ascent(search, lengths)

    def move(
        self, images: Tensor, parameters: Parameters, own: Parameters | None, value: Tensor, slope: Slope, draw: Draw
    ) -> Parameters:
        project = partial(self._perturbation.project, images, bounds=self._bounds)
        if isinstance(self._ascent, AdaptiveAscent):
            gradients = self._estimate(parameters, own, images, slope, draw)
            return self._ascent.move(parameters, gradients, value, project)
        where = self._ascent.ahead(parameters) if self._nesterov else parameters
        gradients = self._estimate(where, own, images, slope, draw)
        return project(self._ascent.move(parameters, gradients))

    def keep(self, rows: Tensor) -> None:
        self._estimate.keep(rows)
        self._ascent.keep(rows)


def _ascent(search: Search, lengths: dict[str, float]) -> Ascent | AdaptiveAscent:
    if not search.adaptive:
        return Ascent(search.rule, lengths, search.momentum)
    if search.rule == "l1":
        return SparseAscent(lengths, search.steps)
    return AdaptiveAscent(search.rule, lengths, search.steps)


def _as_it_is(images: Tensor) -> Tensor:
    return images


def _leaves(parameters: Parameters) -> Parameters:
    return {name: values.detach().requires_grad_() for name, values in parameters.items()}


def _only(parameters: Parameters, rows: Tensor) -> Parameters:
    return {name: values[rows] for name, values in parameters.items()}
