"""What a minimum-norm attack works with: it shows changed images to the victim and keeps the nearest that fool it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv.attacks.gradients import refuse_not_finite, slope
from medadv.attacks.minimum_norm.any_noise import AnyNoise
from medadv.attacks.minimum_norm.length import length
from medadv.attacks.minimum_norm.nearest import Nearest
from medadv.attacks.questions import Examples, Questions
from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.objectives import Margin
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
        adversarial: bool [M].
    """

    shown: Tensor
    logits: Tensor
    adversarial: Tensor


class Hunt(Questions):
    """Images to fool the victim with, at the smallest distance.

    An image counts as adversarial where the victim is wrong and the margin is at least `needed`.

    Args:
        victim: the model; its images and targets must have passed `Victim.check`.
        images: [N, C, *S] float32.
        targets: [N] int64.
        ids: [N] int64, numbers of the examples.
        clean_logits: [N, K] of `images`.
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
        clean_logits: Tensor,
        needed: Tensor,
        norm: str,
    ) -> None:
        self.needed = needed
        self._least = torch.where(needed == 0, -torch.inf, needed)
        self.norm = norm
        perturbation = ANY_FLOW if norm == DISPLACEMENT else ANY_IMAGE
        super().__init__(perturbation, victim, images, targets, ids, clean_logits)

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
        return Sight(shown, answers.logits, answers.fooled)

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
        self.record.forwards[rows] += count * self.victim.passes
        return ~self.victim.correct(logits, self.targets[many]).reshape(-1, count)

    def gradient(self, rows: Tensor, step: int, sight: Sight, values: Tensor, weights: Tensor | None = None) -> Tensor:
        """The gradient of one value per image.

        Args:
            rows: [M] int64, the examples.
            step: steps made so far.
            sight: of these rows.
            values: [M], computed from the logits of the sight; or with weights those logits, [M, K].
            weights: of the shape of `values`: what is differentiated is their weighted sum over each row.

        Returns:
            [M, *image].
        """
        return self.differentiated(rows, step, slope(values, sight.shown, weights))

    def differentiated(self, rows: Tensor, step: int, gradients: Tensor, times: int = 1) -> Tensor:
        """Count gradients that were taken, and refuse those that are not finite.

        Args:
            rows: [M] int64, the examples.
            step: steps made so far.
            gradients: [M, ...].
            times: how many backward passes it took.

        Returns:
            `gradients`.
        """
        self.record.backwards[rows] += times * self.victim.passes
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
            adversarial, margin = sight.adversarial, Margin()(sight.logits, self.targets[rows]) - needed
            inner, outer = torch.where(adversarial, inner, share), torch.where(adversarial, share, outer)
            inner_margin = torch.where(adversarial, inner_margin, margin)
            outer_margin = torch.where(adversarial, margin, outer_margin)

    def result(self) -> Result:
        """The finished result; lengths of noise as fractions of the image range, "l0" in entries, flows in voxels."""
        if self.norm == DISPLACEMENT:
            return self.record.result(torch.where(self.record.fooled, self.record.distance, 0.0))
        distance = length(self.record.images.double() - self.images.double(), self.norm)
        return self.record.result(distance if self.norm == "l0" else distance / self.victim.scale)

    def _new_record(self, loss: Tensor, predictions: Tensor, wrong: Tensor) -> Nearest:
        identity = self.perturbation.identity(self.images)
        passes = self.victim.passes
        return Nearest(self.images, identity, loss, predictions, wrong, 0, passes, measure=self._distance)

    def _distance(self, rows: Tensor, images: Tensor, parameters: Parameters) -> Tensor:
        if self.norm == DISPLACEMENT:
            return largest_length(parameters["flow"])
        return length(images - self.examples(rows).images, self.norm)

    def _fooled(self, examples: Examples, logits: Tensor, margin: Tensor) -> Tensor:
        return super()._fooled(examples, logits, margin) & (margin >= self._least[examples.rows])
