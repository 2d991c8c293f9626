"""AutoAttack."""

from __future__ import annotations

from medadv import _arguments
from medadv.attacks.apgd import APGD
from medadv.attacks.ensemble import Ensemble
from medadv.attacks.fab import FAB
from medadv.attacks.square import Square
from medadv.objectives import TargetedDLR

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
