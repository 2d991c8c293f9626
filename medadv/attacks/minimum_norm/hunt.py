"""What a minimum-norm attack works with: it shows changed images to the victim and keeps the nearest that fool it."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.gradients import refuse_not_finite
from medadv.attacks.minimum_norm.nearest import Nearest
from medadv.attacks.questions import Questions
from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.objectives import Margin
from medadv.perturbations import Additive

ANY_IMAGE = Additive(eps=1.0)
"""Noise without a budget: any image inside the bounds."""


class Hunt(Questions):
    """Images to fool the victim with, at the smallest distance.

    An image counts as adversarial where the victim is wrong and the logit of a wrong class exceeds that of the right
    one by at least `needed`: kappa times the largest size of a clean logit, or kappa where all are below 1. So a find
    does not sit in the rounding noise that another batch size brings.

    Args:
        victim: the model; its images and targets must have passed `Victim.check`.
        images: [N, C, *S] float32.
        targets: [N] int64.
        ids: [N] int64, numbers of the examples.
        clean_logits: [N, K] of `images`.
        norm: "linf", "l2" or "l1", in which distances are measured.
        kappa: at least 0; 0: the victim's answer alone decides.

    Attributes:
        needed: [N], the margin to be reached.
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
        norm: str,
        kappa: float,
    ) -> None:
        self.norm = norm
        self.kappa = kappa
        super().__init__(ANY_IMAGE, victim, images, targets, ids, clean_logits)
        self.needed = kappa * self.logits.abs().amax(dim=1).clamp_min(1)

    def look(self, rows: Tensor, step: int, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Show images to the victim and write down what it says.

        Args:
            rows: [M] int64, the examples, each once.
            step: steps made so far.
            noise: [M, C, *S] float32, in image units; where it leaves the bounds, the image is clipped.

        Returns:
            Logits [M, K], differentiable in `noise`, and whether the images are adversarial, bool [M].
        """
        return self.ask(rows, step, {"noise": noise})

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
        refuse_not_finite("the gradient", gradients, step, self.ids[rows])
        return gradients

    def room(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """How far every voxel may go down and up.

        Args:
            rows: [M] int64, the examples.

        Returns:
            low <= 0 and high >= 0, both [M, C, *S], in image units.
        """
        low, high = self.victim.bounds
        return (low - self.images[rows]).clamp_max(0), (high - self.images[rows]).clamp_min(0)

    def clip(self, rows: Tensor, noise: Tensor) -> Tensor:
        """Noise that keeps the image inside the bounds.

        Args:
            rows: [M] int64, the examples.
            noise: [M, C, *S] in image units.

        Returns:
            [M, C, *S].
        """
        low, high = self.room(rows)
        return torch.maximum(torch.minimum(noise, high), low)

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
                logits, adversarial = self.look(rows, step, share.reshape(-1, *[1] * (found.ndim - 1)) * found)
            margin = Margin()(logits, self.targets[rows]) - needed
            inner, outer = torch.where(adversarial, inner, share), torch.where(adversarial, share, outer)
            inner_margin = torch.where(adversarial, inner_margin, margin)
            outer_margin = torch.where(adversarial, margin, outer_margin)

    def result(self) -> Result:
        """The finished result, distances as fractions of the image range."""
        distance = torch.where(self.record.fooled, self.record.distance, 0.0) / self.victim.scale
        return self.record.result(distance)

    def _new_record(self, loss: Tensor, predictions: Tensor, wrong: Tensor) -> Nearest:
        identity = ANY_IMAGE.identity(self.images)
        return Nearest(self.images, identity, loss, predictions, wrong, 0, self.victim.passes, norm=self.norm)

    def _fooled(self, rows: Tensor, logits: Tensor, margin: Tensor) -> Tensor:
        fooled = super()._fooled(rows, logits, margin)
        return fooled & (margin >= self.needed[rows]) if self.kappa > 0 else fooled
