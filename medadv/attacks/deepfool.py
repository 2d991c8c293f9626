"""DeepFool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from medadv import _arguments
from medadv.attacks.minimum_norm.boundary import CLASSES, OVERSHOOT, Boundary, chosen, rivals
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.attacks.minimum_norm.length import per_row
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormGradientAttack

NORMS = ("l2", "linf")

# How much further than the boundary each step goes, as a fraction of the image range; of the authors' code.
_BEYOND = 1e-4


@dataclass(frozen=True, repr=False)
class DeepFool(MinimumNormGradientAttack):
    """Steps to the nearest boundary of the linearised model until the victim is fooled.

    Moosavi-Dezfooli et al., "DeepFool: a simple and accurate method to fool deep neural networks" (2016): 50 steps, an
    overshoot of 0.02, the 10 most likely classes; and 1e-4 of the image range, as in the authors' code. The image is
    clipped after each step: what voxels at the bounds could not do is left to the next one. Ours: the overshoot is part
    of each step; classes that are out of reach inside the bounds are left alone; images leave when fooled; and one look
    more, at the point inside the bounds and on the last hyperplanes that is nearest to the clean image.

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
        change = torch.zeros_like(hunt.images[rows])
        direct = torch.zeros_like(hunt.images)
        for step in range(self.steps):
            shown = change.requires_grad_()
            logits, adversarial = hunt.look(rows, step, shown)
            going = ~adversarial
            if not bool(going.any()):
                break
            boundary = Boundary.of(hunt, rows, step, shown, logits, others, going)
            rows, others, change = rows[going], others[going], change.detach()[going]
            low, high = hunt.room(rows)
            ways, costs = boundary.straight_moves(low - change, high - change, self.norm)
            far, nearest = costs.min(dim=1)
            far = (1 + self.overshoot) * (far + _BEYOND * hunt.victim.scale)
            # Where every class is out of reach, the image stays.
            far = torch.where(far.isinf(), 0.0, far)
            from_clean, lengths = boundary.seen_from(-change).moves(low, high, self.norm)
            direct[rows] = (1 + self.overshoot) * chosen(from_clean, lengths.argmin(dim=1))
            change = hunt.clip(rows, change + per_row(far, change) * chosen(ways, nearest))
        else:
            with torch.no_grad():
                hunt.look(rows, self.steps, change)
        with torch.no_grad():
            hunt.look(hunt.rows, self.steps, hunt.clip(hunt.rows, direct[hunt.rows]))
