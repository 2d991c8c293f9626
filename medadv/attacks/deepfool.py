"""DeepFool."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.minimum_norm.boundary import CLASSES, OVERSHOOT, Boundary, rivals
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.attacks.minimum_norm.length import per_row
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormGradientAttack
from medadv.attacks.progress import told

NORMS = ("l2", "linf")

# How much further than the boundary each step goes, as a fraction of the image range; of the authors' code.
_BEYOND = 1e-4


@dataclass(frozen=True, repr=False)
class DeepFool(MinimumNormGradientAttack):
    """Steps to the nearest boundary of the linearised model until the victim is fooled.

    Moosavi-Dezfooli et al., "DeepFool: a simple and accurate method to fool deep neural networks" (2016): 50 steps, an
    overshoot of 0.02, the 10 most likely classes; and 1e-4 of the image range, as in the authors' code. The image is
    clipped after each step: what voxels at the bounds could not do is left to the next one. Ours: the overshoot is part
    of each step; classes that are out of reach inside the bounds are left alone; images are looked at before gradients
    are taken, and leave when fooled; and one look more, at the point inside the bounds and on the last hyperplanes that
    is nearest to the clean image.

    Args:
        norm: "l2" or "linf".
        overshoot: by which share each step is longer than to the boundary, at least 0.
        classes: how many classes are considered, the right one included, at least 2.
        steps, kappa: see `MinimumNormGradientAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> bool(DeepFool()(Victim(net), images, net(images).argmax(1)).success.all())
    True
    """

    name: ClassVar[str] = "deepfool"

    norm: str = "l2"
    overshoot: float = OVERSHOOT
    classes: int = CLASSES
    steps: int = field(default=50, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _arguments.choice(self.norm, "norm", NORMS)
        object.__setattr__(self, "overshoot", _arguments.real(self.overshoot, "overshoot", at_least=0))
        object.__setattr__(self, "classes", _arguments.whole(self.classes, "classes", at_least=2))

    @property
    def measure(self) -> str:
        return self.norm

    def _chase(self, hunt: Hunt) -> None:
        rows = hunt.rows
        others = rivals(hunt.logits[rows], hunt.targets[rows], self.classes - 1)
        change = torch.zeros_like(hunt.examples(rows).images)
        direct = torch.zeros_like(hunt.images)
        for step in told(range(self.steps)):
            change, done = hunt.in_packs(partial(self._step, hunt, step, direct), rows, change, others)
            if not bool(done.any()):
                continue
            rows, others, change = rows[~done], others[~done], change[~done]
            if len(rows) == 0:
                break
        with torch.no_grad():
            hunt.look(hunt.rows, self.steps, direct[hunt.rows])

    def _step(
        self, hunt: Hunt, step: int, direct: Tensor, rows: Tensor, change: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next changes, and which images are done; what those end with is written to `direct`."""
        boundary = Boundary.at(hunt, rows, step, change, others) if step else Boundary.at_clean(hunt, rows, others)
        after = self._next(hunt, rows, boundary, change)
        # Backward passes are many: those of images that are done cost more than to show the others once more.
        with torch.no_grad():
            done = hunt.look(rows, step + 1, after).adversarial
        if step + 1 == self.steps:
            done = torch.ones_like(done)
        if bool(done.any()):
            direct[rows[done]] = self._direct(hunt, rows[done], boundary.of_rows(done).seen_from(-change[done]))
        return after, done

    def _next(self, hunt: Hunt, rows: Tensor, boundary: Boundary, change: Tensor) -> Tensor:
        low, high = hunt.room(rows)
        way, far = boundary.straight_move(low - change, high - change, self.norm)
        far = (1 + self.overshoot) * (far + _BEYOND * hunt.victim.scale)
        # Where every class is out of reach, the image stays.
        far = torch.where(far.isinf(), 0.0, far)
        return hunt.clip(rows, way.mul_(per_row(far, way)).add_(change))

    def _direct(self, hunt: Hunt, rows: Tensor, boundary: Boundary) -> Tensor:
        """The point inside the bounds and beyond the hyperplanes that is nearest to the clean image."""
        move, _ = boundary.nearest_move(*hunt.room(rows), self.norm)
        return hunt.clip(rows, move.mul_(1 + self.overshoot))
