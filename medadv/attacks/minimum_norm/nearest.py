"""The nearest adversarial image seen for each example while an attack runs."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.minimum_norm.length import length
from medadv.attacks.record import Record
from medadv.perturbations import Parameters


class Nearest(Record):
    """Keeps, for each example, the image nearest to the clean one that fooled the victim; the clean image until then.

    Args:
        images: [N, C, *S] clean.
        parameters: of the identity.
        loss: [N] at the clean images.
        predictions: [N] of the clean images.
        wrong: bool [N], already wrong; these rows stay clean.
        forwards: passes already made per image.
        passes: how many an answer of the victim takes.
        norm: "linf", "l2" or "l1", in which distances are measured.
    """

    def __init__(
        self,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        wrong: Tensor,
        forwards: int,
        passes: int,
        norm: str,
    ) -> None:
        super().__init__(images, parameters, loss, predictions, wrong, forwards, passes)
        self.loss = loss.clone()
        self.norm = norm
        self.clean = images
        self.distance = torch.full_like(loss, torch.inf, dtype=torch.float64)

    def see(
        self,
        rows: Tensor,
        step: int,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        wrong: Tensor,
    ) -> None:
        self.forwards[rows] += self.passes
        images = images.detach()
        distance = length(images.double() - self.clean[rows].double(), self.norm)
        nearer = wrong & (distance < self.distance[rows])
        self.distance[rows[nearer]] = distance[nearer]
        self._keep(rows, nearer, images, parameters, loss, predictions)
        self._note_first(rows, step, wrong)
