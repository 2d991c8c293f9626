"""The fast gradient sign method."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from medadv.attacks.attack import Attack
from medadv.attacks.bim import BIM
from medadv.attacks.pgd import PGD


@dataclass(frozen=True, kw_only=True, repr=False)
class FGSM(PGD):
    """One step over the whole budget from the clean image.

    Goodfellow et al., "Explaining and harnessing adversarial examples" (2015); in the L2 and L1 balls the step of `PGD`
    there.

    Args:
        eps: radius of the ball as a fraction of the victim's image range, at least 0.
        norm: "linf", "l2" or "l1".
        steps: 1.
        step_size, momentum, adaptive, gradient, restarts, random_start, stop_early, objective, seed: see `Attack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.full((5, 1, 8, 8), 0.5)
    >>> result = FGSM(eps=0.25)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.25
    True
    """

    name: ClassVar[str] = "fgsm"

    steps: int = 1
    random_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps != 1:
            raise ValueError(f"steps must be 1 for FGSM, got {self.steps}: more of them are BIM.")

    def longer(self) -> Attack:
        options: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        return BIM(**{**options, "steps": 2})
