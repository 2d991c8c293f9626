"""AutoAttack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medadv import _arguments
from medadv.attacks.apgd import APGD
from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.ensemble import Ensemble
from medadv.attacks.fab import FAB
from medadv.attacks.result import Result
from medadv.attacks.square import NORMS, Square
from medadv.models.victim import Victim
from medadv.objectives import TargetedDLR
from medadv.perturbations import Additive

_GOALS = 9


def auto_attack(eps: float = 8 / 255, norm: str = "linf", classes: int = 10, seed: int = 0) -> Ensemble:
    """APGD on the cross-entropy, targeted APGD, targeted FAB and Square, each on what withstood those before it.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
    (2020), the standard version, with its constants: 100 steps, 5000 queries, and the nine most likely wrong classes as
    goals. Theirs needs four classes; ours goes for all wrong ones where there are fewer than ten, and for three and two
    classes divides as `medadv.objectives.TargetedDLR` says. Not for several labels per image.

    Args:
        eps: radius of the ball as a fraction of the victim's image range, at least 0.
        norm: "linf" or "l2".
        classes: how many classes the victim tells apart, at least 2; all numbers from 10 mean the same.
        seed: of every random number, 0 to 2^64 - 1.

    Returns:
        One attack.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> [attack.name for attack in auto_attack(4 / 255).attacks]
    ['apgd', 'apgd', 'fab', 'square']
    >>> auto_attack(classes=2).attacks[1].restarts
    1
    """
    goals = min(_GOALS, _arguments.whole(classes, "classes", at_least=2) - 1)
    return Ensemble(
        (
            APGD(eps, norm, seed=seed),
            APGD(eps, norm, restarts=goals, objective=TargetedDLR(goals), seed=seed),
            FAB(norm, targeted=True, classes=goals + 1, seed=seed),
            Square(eps, norm, seed=seed),
        )
    )


@dataclass(frozen=True, repr=False)
class AutoAttack(BudgetedAttack):
    """The four attacks of AutoAttack, one after the other, each on what withstood those before it.

    `auto_attack` for a victim whose number of classes is taken from its answers, as one value with a budget. Not for
    several labels per image.

    Args:
        eps: radius of the ball as a fraction of the victim's image range, at least 0.
        norm: "linf" or "l2".
        seed: of every random number, 0 to 2^64 - 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> AutoAttack(norm="l2")
    AutoAttack(eps=0.03137254901960784, norm='l2', seed=0)
    """

    name: ClassVar[str] = "auto-attack"
    budget_field: ClassVar[str] = "eps"
    sees_detectors: ClassVar[bool] = False

    eps: float = 8 / 255
    norm: str = "linf"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _arguments.choice(self.norm, "norm", NORMS)
        object.__setattr__(self, "seed", _arguments.whole(self.seed, "seed", at_least=0, below=2**64))

    @property
    def perturbation(self) -> Additive:
        return Additive(self.eps, self.norm)

    def _run(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor) -> Result:
        if targets.ndim != 1:
            raise ValueError(f"AutoAttack needs one label per image, got targets {list(targets.shape)}.")
        attack = auto_attack(self.eps, self.norm, clean_logits.shape[1], self.seed)
        return attack.run(victim, images, targets, ids, clean_logits)
