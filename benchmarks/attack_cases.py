"""What attacks are compared at: the same norm, budget, steps and constants for every library."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medadv import attacks
from medadv.attacks import (
    APGD,
    DDN,
    FAB,
    FGSM,
    FMN,
    PGD,
    BaseAttack,
    CarliniWagner,
    DeepFool,
    Ensemble,
    Gradient,
    HopSkipJump,
    Square,
)
from medadv.models import Victim
from medadv.objectives import DLR, TargetedDLR

ORDERS = {"linf": math.inf, "l2": 2, "l1": 1}

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Network, images [N, C, H, W] in [0, 1] and right classes [N] to changed images."""

# Constants that every library is given, where it takes them.
OVERSHOOT = 0.02  # DeepFool
WEIGHT = 1.0  # the first of Carlini and Wagner's attack
BLUR, BLUR_RADIUS = 7 / 3, 7  # TI-FGSM: standard deviation and radius of the Gaussian, in pixels
SCALES, NEIGHBOURS = 5, 5  # SI-FGSM, VMI-FGSM
TRANSFER = ("mi-fgsm", "ni-fgsm", "si-ni-fgsm", "di-fgsm", "ti-fgsm", "vmi-fgsm")


@dataclass(frozen=True)
class Case:
    """An attack with a norm and a number of steps.

    Args:
        kind: which attack.
        norm: "linf", "l2" or "l1".
        steps: or queries.
        eps: radius of the ball as a fraction of the image range; None for attacks that minimise the norm.
        classes: that the network tells apart.
        searches: weights that Carlini and Wagner's attack tries.
        seed: of the random numbers, where a library takes one.
    """

    kind: str
    norm: str
    steps: int
    eps: float | None
    classes: int
    searches: int = 1
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind} {self.norm}, {self.steps}"

    @property
    def order(self) -> float:
        return ORDERS[self.norm]

    @property
    def step_size(self) -> float:
        """Length of a step in image units: all of them together go 2.5 radii; 1 for one step, and for transfer."""
        assert self.eps is not None
        reach = 1.0 if self.kind in TRANSFER else 2.5
        return self.eps * min(reach / self.steps, 1.0)


def ours(case: Case) -> Attack:
    """The attack of medadv."""
    attack = attack_of(case)

    def run(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        # Random numbers belong to an example: other numbers of the examples do what another seed does.
        ids = None if case.seed == 0 else torch.arange(len(images)) + case.seed * len(images)
        return attack(Victim(network), images, targets, ids).images

    return run


def attack_of(case: Case) -> BaseAttack:
    """The attack of medadv, as it is."""
    eps, norm, steps = case.eps or 0.0, case.norm, case.steps
    goals = min(case.classes, 10) - 1
    if case.kind in TRANSFER:
        kind = next(each for each in attacks.ATTACKS.values() if each.name == case.kind)
        gradients = {"ti-fgsm": Gradient(translation=BLUR), "vmi-fgsm": Gradient(neighbours=NEIGHBOURS)}
        options = {"gradient": gradients[case.kind]} if case.kind in gradients else {}
        return kind(eps=eps, norm=norm, steps=steps, **options)
    made: dict[str, Callable[[], BaseAttack]] = {
        "fgsm": lambda: FGSM(eps, norm),
        "pgd": lambda: PGD(eps, norm, steps=steps),
        "apgd-ce": lambda: APGD(eps, norm, steps=steps),
        "apgd-dlr": lambda: APGD(eps, norm, steps=steps, objective=DLR()),
        "apgd-t": lambda: APGD(eps, norm, steps=steps, restarts=goals, objective=TargetedDLR(goals)),
        "square": lambda: Square(eps, norm, queries=steps),
        "autoattack": lambda: Ensemble(
            (
                APGD(eps, norm, steps=steps),
                APGD(eps, norm, steps=steps, restarts=goals, objective=TargetedDLR(goals)),
                FAB(norm, targeted=True, classes=goals + 1, steps=steps),
                Square(eps, norm, queries=10 * steps),
            )
        ),
        "deepfool": lambda: DeepFool(norm, overshoot=OVERSHOOT, steps=steps),
        "carlini-wagner": lambda: CarliniWagner(weight=WEIGHT, searches=case.searches, steps=steps),
        "ddn": lambda: DDN(steps=steps),
        "fmn": lambda: FMN(norm, steps=steps),
        "fab": lambda: FAB(norm, steps=steps),
        "fab-t": lambda: FAB(norm, targeted=True, steps=steps),
        "hop-skip-jump": lambda: HopSkipJump(norm, steps=steps),
    }
    return made[case.kind]()
