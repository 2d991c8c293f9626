"""The loop of a search: show the images, take gradients, step, and let go of what is fooled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medadv._finite import all_finite
from medadv._graph import without_graph
from medadv.attacks.gradients import NO_GRADIENT, refuse_not_finite
from medadv.attacks.outcome import outcome
from medadv.attacks.progress import told
from medadv.attacks.randomness import Draw
from medadv.attacks.record import Record, some
from medadv.attacks.search.adaptive_ascent import AdaptiveAscent
from medadv.attacks.search.ascent import Ascent
from medadv.attacks.search.best import Best
from medadv.attacks.search.clean_pass import CleanPass, changed_images
from medadv.attacks.search.estimate import Estimate, Slope, View
from medadv.attacks.search.sparse_ascent import SparseAscent
from medadv.models.features import Features
from medadv.models.victim import Victim
from medadv.objectives.objective import Objective, Situation, layers_of, situated
from medadv.perturbations import Parameters, Perturbation
from medadv.perturbations.perturbation import Bounds, fused_step_of, image_gradient_of

if TYPE_CHECKING:
    from medadv.attacks.search.search import Search


@dataclass(slots=True, eq=False)
class _Place:
    """The rows of a batch that a restart still works on, and where it stands."""

    restart: int
    step: int
    rows: Tensor
    images: Tensor
    targets: Tensor
    clean_logits: Tensor
    before: Tensor | None = None

    def only(self, rows: Tensor) -> _Place:
        before = None if self.before is None else self.before[rows]
        return _Place(
            self.restart,
            self.step,
            self.rows[rows],
            self.images[rows],
            self.targets[rows],
            self.clean_logits[rows],
            before,
        )


@dataclass(slots=True, eq=False)
class _Sight:
    """Of images [M, C, *S] that were looked at: the value raised, the gradients where wanted, and who is searched on.

    The last is bool [M], or None: all of them.
    """

    value: Tensor
    images: Tensor
    gradients: Parameters | None
    going: Tensor | None

    def that_go_on(self, rows: Tensor) -> _Sight:
        gradients = None if self.gradients is None else _only(self.gradients, rows)
        return _Sight(self.value[rows], self.images[rows], gradients, None)

    @staticmethod
    def joined(parts: list[_Sight]) -> _Sight:
        gradients = [part.gradients for part in parts if part.gradients is not None]
        every = all(part.going is None for part in parts)
        return _Sight(
            torch.cat([part.value for part in parts]),
            torch.cat([part.images for part in parts]),
            _joined(gradients) if gradients else None,
            None if every else torch.cat([_all_of(part.value) if part.going is None else part.going for part in parts]),
        )


@dataclass(slots=True, eq=False)
class _Shown:
    """Images [M, C, *S] that were shown to a victim, of what parameters, in what view, and what it said.

    The images are without a graph.
    """

    images: Tensor
    parameters: Parameters
    logits: Tensor
    features: Features
    view: View
    victim: Victim


@dataclass(slots=True, eq=False)
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
    ids: Tensor | None
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
        draw = Draw(search.seed, self._ids(rows), restart)
        place = _Place(restart, 0, rows, *self._of(rows))
        place, parameters = self._start(place, draw, first)
        if place.rows.shape[0] == 0:
            return
        steps = _Steps(search, self.perturbation, self.victim.bounds)
        at_the_image, made = search.gradient.at_the_image(self.victim), None
        for step in told(range(search.steps)):
            place.step = step
            if first is not None and step == 0:
                sight = self._clean_sight(place, first)
            else:
                sight = self._look(place, parameters, at_the_image, made)
            going = sight.going
            if going is not None:
                if not bool(going.any()):
                    return
                place, sight, parameters = place.only(going), sight.that_go_on(going), _only(parameters, going)
                steps.keep(going)
                draw.keep(going)
            slope = partial(self._slope, place)
            parameters, made = steps.move(place.images, parameters, sight.gradients, sight.value, slope, draw)
            place.before = sight.images
        place.step = search.steps
        self._look(place, parameters, with_gradient=False, made=made)

    def _ids(self, rows: Tensor) -> Tensor:
        """Numbers of the examples in some rows."""
        return rows if self.ids is None else some(self.ids, rows)

    def _of(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images, targets and clean logits of some rows; of all of them without a copy."""
        if rows.shape[0] == self.images.shape[0]:
            return self.images, self.targets, self.clean_logits
        return self.images[rows], self.targets[rows], self.clean_logits[rows]

    def _start(self, place: _Place, draw: Draw, first: CleanPass | None) -> tuple[_Place, Parameters]:
        """The rows that are left after a look at random points, and where they start."""
        if first is not None:
            return place, {name: some(values, place.rows) for name, values in first.parameters.items()}
        if not self.search.random_start:
            return place, self.perturbation.identity(place.images)
        parameters = self.perturbation.random(place.images, draw, self.victim.bounds)
        if self.search.draws == 1:
            return place, parameters
        best = Best()
        for number in range(self.search.draws):
            if number > 0:
                parameters = self.perturbation.random(place.images, draw, self.victim.bounds)
            sight = self._look(place, parameters, with_gradient=False)
            best.see(parameters, sight.value)
            if sight.going is not None:
                place = place.only(sight.going)
                best.keep(sight.going)
                draw.keep(sight.going)
            if place.rows.shape[0] == 0:
                break
        return place, best.parameters

    def _packs(self, place: _Place) -> tuple[Tensor, ...] | None:
        """Numbers of the place's rows, as many at a time as the victim is shown at once; None: all at once."""
        count, at_once = place.rows.shape[0], self.victim.batch_size
        if at_once is None or count <= at_once:
            return None
        packs: tuple[Tensor, ...] = torch.arange(count, device=place.rows.device).split(at_once)
        return packs

    def _clean_sight(self, place: _Place, first: CleanPass) -> _Sight:
        """What is seen where the victim has answered already; what it answered is on record."""
        rows = None if place.rows.shape[0] == self.images.shape[0] else place.rows
        seen = first if rows is None else first.only(rows)
        shown = _Shown(place.images, seen.parameters, seen.logits, seen.features, _as_it_is, self.victim)
        value, found = self._value(place, shown)
        self.record.begin(place.rows, found)
        gradients = self._gradients(place, value, None, first.leaves, rows)
        return _Sight(found, place.images, gradients, going=None)

    def _look(self, place: _Place, parameters: Parameters, with_gradient: bool, made: Tensor | None = None) -> _Sight:
        """Show the images to the victim, as many as it is shown at once, and write down what it says.

        They are made of the parameters, unless the last step made them.
        """
        packs = self._packs(place)
        if packs is None:
            return self._look_at(place, parameters, with_gradient, made)
        return _Sight.joined(
            [
                self._look_at(
                    place.only(rows), _only(parameters, rows), with_gradient, None if made is None else made[rows]
                )
                for rows in packs
            ]
        )

    def _look_at(self, place: _Place, parameters: Parameters, with_gradient: bool, made: Tensor | None) -> _Sight:
        with torch.set_grad_enabled(with_gradient):
            shown, leaves = self._show(place, parameters, _as_it_is, self.victim, made)
            value, seen = self._value(place, shown)
        changed = shown.images
        goals = None if self.goals is None else self.goals[place.rows]
        answers, fooled = outcome(self.victim, without_graph(shown.logits), place.targets, goals)
        found = self.record.see(place.rows, place.step, changed, parameters, seen, answers, fooled)
        more_to_come = place.step < self.search.steps
        going = ~fooled if found and more_to_come and self.search.stop_early else None
        gradients = self._gradients(place, value, going, leaves) if with_gradient else None
        return _Sight(seen, changed, gradients, going)

    def _slope(self, place: _Place, parameters: Parameters, view: View, sample: int) -> Parameters:
        """The gradient elsewhere than at the image that was looked at."""
        packs = self._packs(place)
        if packs is None:
            return self._slope_at(place, parameters, view, sample)
        return _joined([self._slope_at(place.only(rows), _only(parameters, rows), view, sample) for rows in packs])

    def _slope_at(self, place: _Place, parameters: Parameters, view: View, sample: int) -> Parameters:
        victim = self.victim.fresh(self.search.seed, place.restart, place.step, sample)
        shown, leaves = self._show(place, parameters, view, victim)
        value, _ = self._value(place, shown)
        self.record.count_forwards(place.rows, 1)
        return self._gradients(place, value, None, leaves)

    def _show(
        self, place: _Place, parameters: Parameters, view: View, victim: Victim, made: Tensor | None = None
    ) -> tuple[_Shown, Parameters]:
        """Show the changed images, and what gradients are taken to, where there is a graph."""
        bounds = victim.bounds
        changed, parameters, leaves = changed_images(self.perturbation, place.images, parameters, bounds, made)
        logits, features = victim.look(view(changed), layers_of(self.objective))
        return _Shown(without_graph(changed), parameters, logits, features, view, victim), leaves

    def _value(self, place: _Place, shown: _Shown) -> tuple[Tensor, Tensor]:
        """The value that is raised, [M], and the same without a graph."""
        at = situated(self.objective)
        if at is None:
            value = self.objective(shown.logits, place.targets)
        else:
            value = at(shown.logits, place.targets, self._situation(place, shown))
        if image_gradient_of(self.perturbation) is None:  # else there is no penalty
            value = value - self.perturbation.penalty(place.images, shown.parameters)
        seen = without_graph(value)
        self._refuse_not_finite("the objective", seen, place)
        return value, seen

    def _situation(self, place: _Place, shown: _Shown) -> Situation:
        return Situation(
            clean=place.images,
            images=shown.images,
            before=place.before,
            clean_logits=place.clean_logits,
            restart=place.restart,
            ask=partial(self._ask, place, shown.view, shown.victim),
            features=shown.features,
        )

    def _ask(self, place: _Place, view: View, victim: Victim, images: Tensor) -> Tensor:
        self.record.count_forwards(place.rows, victim.passes)
        with torch.no_grad():
            return victim(view(images.clamp(*victim.bounds)))

    def _gradients(
        self, place: _Place, value: Tensor, going: Tensor | None, leaves: Parameters, rows: Tensor | None = None
    ) -> Parameters:
        """The gradient of the value to the leaves, or to those rows of them that the place works on."""
        if going is not None and not bool(going.any()):
            return {name: torch.zeros_like(values) for name, values in leaves.items()}
        if not value.requires_grad:
            raise ValueError(NO_GRADIENT)
        # Rows that are done weigh nothing, so that no gradient is taken for them.
        weights = torch.ones_like(value) if going is None else going.to(value.dtype)
        gradients = torch.autograd.grad((value,), tuple(leaves.values()), (weights,), allow_unused=True)
        found: Parameters = {}
        for name, gradient in zip(leaves, gradients, strict=True):
            if gradient is None:
                raise ValueError(NO_GRADIENT)
            found[name] = gradient if rows is None else gradient[rows]
            self._refuse_not_finite("the gradient", found[name], place)
        self.record.count_backwards(place.rows, 1 if going is None else going)
        return found

    def _refuse_not_finite(self, what: str, values: Tensor, place: _Place) -> None:
        if not all_finite(values):
            refuse_not_finite(what, values, place.step, self._ids(place.rows))


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
        self._fused_step = fused_step_of(perturbation, search.rule)

    def move(
        self, images: Tensor, parameters: Parameters, own: Parameters | None, value: Tensor, slope: Slope, draw: Draw
    ) -> tuple[Parameters, Tensor | None]:
        """The next parameters, and the images made of them where these come with the step."""
        project = self._perturbation.project
        if isinstance(self._ascent, AdaptiveAscent):
            gradients = self._estimate(parameters, own, images, slope, draw)
            inside = partial(project, images, bounds=self._bounds)
            return self._ascent.move(parameters, gradients, value, inside), None
        where = self._ascent.ahead(parameters) if self._nesterov else parameters
        gradients = self._estimate(where, own, images, slope, draw)
        if self._fused_step is not None:
            followed = self._ascent.followed(gradients)
            return self._fused_step(images, parameters, followed, self._ascent.lengths, self._bounds)
        return project(images, self._ascent.move(parameters, gradients), self._bounds), None

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


def _all_of(values: Tensor) -> Tensor:
    return torch.ones_like(values, dtype=torch.bool)


def _joined(parts: list[Parameters]) -> Parameters:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _only(parameters: Parameters, rows: Tensor) -> Parameters:
    return {name: values[rows] for name, values in parameters.items()}
