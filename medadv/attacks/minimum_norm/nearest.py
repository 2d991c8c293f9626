"""The nearest adversarial image seen for each example while an attack runs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medadv.attacks.record import Record, some
from medadv.perturbations import Parameters


class Nearest(Record):
    """Keeps, for each example, the image nearest to the clean one that fooled the victim; the clean image until then.

    Args:
        images: [N, C, *S] clean.
        parameters: of the identity.
        loss: [N] at the clean images; written to.
        predictions: [N] of the clean images.
        wrong: bool [N], already wrong; these rows stay clean.
        forwards: passes already made per image.
        passes: how many an answer of the victim takes.
        measure: the distance [M] float64 of changed images of the rows [M], from the images and their parameters; up to
            rounding, as it only tells which of two is nearer.
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
        measure: Callable[[Tensor, Tensor, Parameters], Tensor],
    ) -> None:
        super().__init__(images, parameters, loss, predictions, wrong, forwards, passes)
        self.measure = measure
        self._all_found = False
        self.distance = torch.full_like(loss, torch.inf, dtype=torch.float64)

    def keep(
        self,
        rows: Tensor,
        step: int,
        images: Tensor,
        parameters: Parameters,
        loss: Tensor,
        predictions: Tensor,
        wrong: Tensor,
    ) -> None:
        distance = self.measure(rows, images.detach(), parameters)
        before = some(self.distance, rows)
        nearer = wrong & (distance < before)
        # The first find is nearer than none.
        if bool(nearer.any()):
            if not self._all_found:
                self._note_first(rows, step, nearer & before.isinf())
                self._all_found = bool((self.fooled | self.already_wrong).all())
            self.distance.index_copy_(0, rows, torch.where(nearer, distance, before))
            self._keep(rows, nearer, images, parameters, loss, predictions)
