"""What a minimum-norm attack works with: it shows changed images to the victim and keeps the nearest that fool it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from medadv.attacks.examples import Examples, Gathering
from medadv.attacks.gradients import refuse_not_finite, slope
from medadv.attacks.minimum_norm.any_noise import AnyNoise
from medadv.attacks.minimum_norm.length import length
from medadv.attacks.minimum_norm.nearest import Nearest
from medadv.attacks.questions import Questions
from medadv.attacks.record import some
from medadv.attacks.result import Result
from medadv.attacks.search.clean_pass import CleanPass
from medadv.models.victim import Victim
from medadv.objectives import Margin
from medadv.objectives.margin import margin_shares
from medadv.perturbations import Flow, Parameters
from medadv.perturbations.motion import largest_length

ANY_IMAGE = AnyNoise()
"""Noise without a budget: any image inside the bounds."""

ANY_FLOW = Flow(displacement=2.0**20)
"""A flow without a budget: further than any image is wide."""

DISPLACEMENT = "displacement"
"""What is measured of a flow: its largest displacement in voxels."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What the victim says of changed images.

    Attributes:
        shown: the images [M, C, *S] as shown to the victim; or the flow [M, D, *S]. A leaf to take gradients to: those
            to the images are those to the noise.
        logits: [M, K]; differentiable in `shown` where gradients are on.
        margin: [M], without a graph.
        adversarial: bool [M].
        places: [M] int64, where the images are among those that were shown, if others were shown with them.
    """

    shown: Tensor
    logits: Tensor
    margin: Tensor
    adversarial: Tensor
    places: Tensor | None = None

    def slope(self, values: Tensor, weights: Tensor | None = None, retain_graph: bool = False) -> Tensor:
        """The gradient of one value per image.

        Args:
            values: [M], computed from the logits; or with weights the logits, [M, K].
            weights: of the shape of `values`: what is differentiated is their weighted sum over each row.
            retain_graph: whether another gradient will be taken.

        Returns:
            [M, *image].
        """
        found = slope(values, self.shown, weights, retain_graph)
        return found if self.places is None else found[self.places]


class Hunt(Questions):
    """Images to fool the victim with, at the smallest distance.

    An image counts as adversarial where the victim is wrong and the margin is at least `needed`.

    Args:
        victim: the model; its images and targets must have passed `Victim.check`.
        images: [N, C, *S] float32.
        targets: [N] int64.
        ids: [N] int64, numbers of the examples.
        clean: the victim's answer to `images`: its logits [N, K], or the pass that the first look goes on from.
        needed: [N], the margin to be reached, at least 0; 0: the victim's answer alone decides.
        norm: in which distances are measured: "linf", "l2", "l1" or "l0" of noise, or the "displacement" of a flow.

    Attributes:
        record: what was found; the nearest.
    """

    record: Nearest

    def __init__(
        self,
        victim: Victim,
        images: Tensor,
        targets: Tensor,
        ids: Tensor,
        clean: CleanPass | Tensor,
        needed: Tensor,
        norm: str,
    ) -> None:
        self.needed = needed
        # Minus infinity, or None for all images: the answer alone decides.
        self._least = torch.where(needed == 0, -torch.inf, needed) if bool(needed.any()) else None
        self.norm = norm
        perturbation = ANY_FLOW if norm == DISPLACEMENT else ANY_IMAGE
        self._first = clean if isinstance(clean, CleanPass) else None
        logits = clean.logits if isinstance(clean, CleanPass) else clean
        super().__init__(perturbation, victim, images, targets, ids, logits)

    def packs(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Rows, as many at a time as the victim is shown at once.

        Args:
            rows: [M] int64, at least one.

        Returns:
            Its parts.
        """
        parts: tuple[Tensor, ...] = rows.split(self.victim.batch_size or len(rows))
        return parts

    def in_packs(self, make: Callable[..., tuple[Tensor, ...]], rows: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        """Do something with as many images at a time as the victim is shown at once.

        Gradients of more images might not fit. Images that leave between two calls make room: packs stay full.

        Args:
            make: from the rows of a pack and its part of the values to tensors of as many rows.
            rows: [M] int64, at least one.
            values: each [M, ...].

        Returns:
            What was made, each tensor of M rows.
        """
        packs = self.packs(rows)
        if len(packs) == 1:
            return make(rows, *values)
        parts = zip(packs, *(each.split(len(packs[0])) for each in values), strict=True)
        return tuple(torch.cat(found) for found in zip(*(make(*part) for part in parts), strict=True))

    def look_at_clean(self, rows: Tensor) -> Sight:
        """Show the clean images, with gradients; in the pass that told whether the victim is right, where it is known.

        Args:
            rows: [M] int64, the examples, in ascending order, each once.

        Returns:
            What the victim says.
        """
        if self._first is None:
            (identity,) = self.perturbation.identity(self.examples(rows).images).values()
            return self.look(rows, 0, identity)
        # Once: its graph is freed with the last gradient.
        first, self._first = self._first, None
        (leaf,) = first.leaves.values()
        margin = self.record.loss[rows]
        return Sight(leaf, first.logits[rows], margin, torch.zeros_like(rows, dtype=torch.bool), rows)

    def look(self, rows: Tensor, step: int, change: Tensor) -> Sight:
        """Show images to the victim and write down what it says.

        Args:
            rows: [M] int64, the examples, in ascending order, each once.
            step: steps made so far.
            change: noise [M, C, *S] float32, in image units; where it leaves the bounds, the image is clipped. Or a
                flow [M, D, *S] float32, in voxels.

        Returns:
            What it says; from no graph where gradients are off.
        """
        moved, graph = self.norm == DISPLACEMENT, torch.is_grad_enabled()
        change = change.detach().requires_grad_(moved and graph)
        parameters = {"flow" if moved else "noise": change}
        images = self.perturbation.apply(self.examples(rows).images, parameters, self.victim.bounds)
        shown = change if moved else images.requires_grad_(graph)
        answers = self.show(rows, step, images)
        self.note(rows, step, images, parameters, answers)
        return Sight(shown, answers.logits, answers.margin, answers.fooled)

    def answers(self, rows: Tensor, step: int, noise: Tensor) -> Tensor:
        """Ask about several images per example without keeping any.

        Args:
            rows: [M] int64, the examples.
            step: steps made so far.
            noise: [M, B, C, *S] float32, in image units.

        Returns:
            Whether the victim is wrong, bool [M, B].
        """
        count = noise.shape[1]
        many = rows.repeat_interleave(count)
        images = ANY_IMAGE.apply(self.images[many], {"noise": noise.flatten(0, 1)}, self.victim.bounds)
        logits = self.victim(images)
        refuse_not_finite("logits", logits, step, self.ids[many])
        self.record.count_forwards(rows, count * self.victim.passes)
        return ~self.victim.correct(logits, self.targets[many]).reshape(-1, count)

    def margin_gradient(self, rows: Tensor, step: int, sight: Sight) -> Tensor:
        """The gradient of the margin, counted.

        Args:
            rows: [M] int64, the examples.
            step: steps made so far.
            sight: of these rows.

        Returns:
            [M, *image].
        """
        shares = margin_shares(sight.logits.detach(), self.examples(rows).targets)
        return self.differentiated(rows, step, sight.slope(sight.logits, shares), 1)

    def differentiated(self, rows: Tensor, step: int, gradients: Tensor, times: int | Tensor) -> Tensor:
        """Count gradients that were taken, and refuse those that are not finite.

        Args:
            rows: [M] int64, the examples.
            step: steps made so far.
            gradients: [M, ...].
            times: how many backward passes it took; one number, or [M] (bool: one or none).

        Returns:
            `gradients`.
        """
        self.record.count_backwards(rows, times * self.victim.passes)
        refuse_not_finite("the gradient", gradients, step, self.examples(rows).ids)
        return gradients

    def room(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """How far every voxel may go down and up.

        Args:
            rows: [M] int64, the examples.

        Returns:
            low <= 0 and high >= 0, both [M, C, *S], in image units.
        """
        return self.examples(rows).room

    def clip(self, rows: Tensor, noise: Tensor) -> Tensor:
        """Noise that keeps the image inside the bounds.

        Args:
            rows: [M] int64, the examples.
            noise: [M, C, *S] in image units.

        Returns:
            [M, C, *S].
        """
        return torch.clamp(noise, *self.room(rows))

    def shorten(self, rows: Tensor, step: int, searches: int) -> None:
        """Look for nearer adversarial images on the line from the clean image to the nearest one found.

        The margin is taken for linear between the last images on either side (regula falsi).

        Args:
            rows: [M] int64, the examples; those without a find are left alone.
            step: steps made so far.
            searches: how many images to look at per example.
        """
        rows = rows[self.record.fooled[rows]]
        found, needed = self.record.parameters["noise"][rows], self.needed[rows]
        inner, outer = torch.zeros_like(needed), torch.ones_like(needed)
        inner_margin = Margin()(self.logits[rows], self.targets[rows]) - needed
        outer_margin = self.record.loss[rows] - needed
        for _ in range(searches if len(rows) else 0):
            share = inner + (outer - inner) * (inner_margin / (inner_margin - outer_margin)).nan_to_num(1.0)
            with torch.no_grad():
                sight = self.look(rows, step, share.reshape(-1, *[1] * (found.ndim - 1)) * found)
            adversarial, margin = sight.adversarial, sight.margin - needed
            inner, outer = torch.where(adversarial, inner, share), torch.where(adversarial, share, outer)
            inner_margin = torch.where(adversarial, inner_margin, margin)
            outer_margin = torch.where(adversarial, margin, outer_margin)

    def result(self) -> Result:
        """The finished result; lengths of noise as fractions of the image range, "l0" in entries, flows in voxels."""
        if self.norm == DISPLACEMENT:
            return self.record.result(torch.where(self.record.fooled, self.record.distance, 0.0))
        distance = length(self.record.images, self.norm, origin=self.images)
        return self.record.result(distance if self.norm == "l0" else distance / self.victim.scale)

    def _new_record(self, loss: Tensor, predictions: Tensor, wrong: Tensor) -> Nearest:
        identity = self.perturbation.identity(self.images)
        # Not a method of this hunt: hunt and record would hold each other until the garbage collector comes by.
        measure = partial(_distance, self.norm, self.examples)
        passes = self.victim.passes
        return Nearest(self.images, identity, loss, predictions, wrong, 0, passes, measure=measure)

    def _outcome(self, examples: Examples, logits: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
        answers, fooled = super()._outcome(examples, logits, margin)
        if self._least is None:
            return answers, fooled
        return answers, fooled & (margin >= some(self._least, examples.rows))


def _distance(norm: str, examples: Gathering, rows: Tensor, images: Tensor, parameters: Parameters) -> Tensor:
    if norm == DISPLACEMENT:
        return largest_length(parameters["flow"])
    return length(images, norm, origin=examples(rows).images)
