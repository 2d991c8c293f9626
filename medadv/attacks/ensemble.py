"""Several attacks in one budget, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from medadv.attacks.attack import Attack
from medadv.attacks.merge import replace_rows
from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.perturbations import Perturbation


@dataclass(frozen=True)
class Ensemble:
    """The worst case of each image over several attacks: an image is robust only if it withstands all of them.

    Each attack sees only the images that withstood those before it, so cheap ones go first. Croce and Hein, "Reliable
    evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks" (AutoAttack, 2020).

    Args:
        attacks: at least one; all change the same in an image within the same budget.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.attacks.apgd import APGD
    >>> from medadv.objectives import DLR
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> both = Ensemble((APGD(0.5, steps=5), APGD(0.5, steps=5, objective=DLR())))
    >>> both(Victim(net), images, net(images).argmax(1)).success.shape
    torch.Size([5])
    """

    name: ClassVar[str] = "ensemble"

    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        if not self.attacks:
            raise ValueError("attacks must not be empty.")
        for attack in self.attacks:
            if not isinstance(attack, Attack):
                raise TypeError(f"attacks must hold attacks such as PGD(), got {attack!r}.")
            if attack.perturbation != self.perturbation:
                raise ValueError(
                    f"attacks must change the same within the same budget, got {self.perturbation!r} and "
                    f"{attack.perturbation!r}."
                )

    @property
    def perturbation(self) -> Perturbation:
        """What may change, and how much."""
        return self.attacks[0].perturbation

    @property
    def budget(self) -> float:
        """Size of the budget, in its own units."""
        return self.attacks[0].budget

    def with_budget(self, budget: float) -> Ensemble:
        """The same attacks with another budget.

        Args:
            budget: in the units of `budget`.

        Returns:
            A new ensemble.
        """
        return Ensemble(tuple(attack.with_budget(budget) for attack in self.attacks))

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor | None = None) -> Result:
        """Attack images; the victim is left as it was.

        Args:
            victim, images, targets, ids: as for an `Attack`.

        Returns:
            One row per image: of the first attack that fooled the victim, else of the last one. Passes are those of
            all attacks that the image went through.

        Raises:
            TypeError, ValueError: what an attack refuses.
        """
        logits = victim.clean_logits(images, targets)
        ids = torch.arange(len(images), device=images.device) if ids is None else ids
        result = self.attacks[0].run(victim, images, targets, ids, logits, clean_forwards=1)
        for attack in self.attacks[1:]:
            rows = result.robust.nonzero().flatten()
            if len(rows) == 0:
                break
            fresh = attack.run(victim, images[rows], targets[rows], ids[rows], logits[rows])
            fresh = replace(
                fresh,
                forwards=fresh.forwards + result.forwards[rows],
                backwards=fresh.backwards + result.backwards[rows],
            )
            result = replace_rows(result, rows, fresh)
        return result
