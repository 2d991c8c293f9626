"""What the study of the bias field attack runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medadv.attacks import (
    DIFGSM,
    MIFGSM,
    PGD,
    TIFGSM,
    AdversarialSmoothBiasField,
    BiasFieldAttack,
    RandomNoise,
)
from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.search.gradient import Gradient
from medadv.objectives import CrossEntropy
from studies._common.image_sources import KERMANY, MEDNIST, SHENZHEN, ImageSource, Phantoms
from studies.bias_field.random_bias_field import RandomBiasField

# Of the Gaussian of TI-FGSM (Dong et al., 2019), for images of 299 pixels; smaller ones get a smaller one.
_TRANSLATION, _TRANSLATION_SIZE = 7 / 3, 299


@dataclass(frozen=True)
class Subject:
    """An image set, and budgets between those that fool few of its images and those that fool most.

    Args:
        source: the image set.
        images: largest number of images attacked.
        training_seeds: of the networks that are shown attacked images; those of the first are attacked.
        gains: budgets of bias fields, rising.
        eps: budgets of noise, as fractions of the image range, rising.
    """

    source: ImageSource
    images: int
    training_seeds: tuple[int, ...]
    gains: tuple[float, ...]
    eps: tuple[float, ...]

    def budgets(self, kind: str) -> tuple[float, ...]:
        """The budgets of a kind of contender, "field" or "noise"."""
        return self.gains if kind == "field" else self.eps


@dataclass(frozen=True)
class Configuration:
    """All that decides the results.

    Args:
        subjects: image sets with their budgets.
        architectures: of the networks; each is attacked, and each is a black box for the others.
        steps: of every iterative attack, and draws of every random one.
        levels: success on the surrogate at which attacks are compared.
        resamples: of the bootstrap.
        seed: of random starts, draws and the bootstrap.
    """

    subjects: tuple[Subject, ...] = (
        Subject(KERMANY, 100, (0, 1), gains=(1.05, 1.1, 1.2, 1.4), eps=(1 / 255, 2 / 255, 4 / 255, 8 / 255)),
        Subject(SHENZHEN, 100, (0,), gains=(1.05, 1.1, 1.4), eps=(1 / 255, 2 / 255, 4 / 255)),
        Subject(MEDNIST, 60, (0,), gains=(1.2, 1.4, 2.0, 3.0), eps=(4 / 255, 8 / 255, 16 / 255, 32 / 255)),
    )
    architectures: tuple[str, ...] = ("residual", "dense", "mobile")
    steps: int = 20
    levels: tuple[float, ...] = (0.5, 0.8)
    resamples: int = 2000
    seed: int = 0


QUICK = Configuration(
    subjects=(
        Subject(
            Phantoms("phantoms", size=32, training=192, test=32, epochs=10),
            images=32,
            training_seeds=(0, 1),
            gains=(1.2, 3.0),
            eps=(8 / 255, 64 / 255),
        ),
    ),
    architectures=("residual", "dense"),
    steps=3,
    resamples=50,
)


@dataclass(frozen=True)
class Contender:
    """An attack of the comparison.

    Args:
        label: how results and figures call it.
        kind: "field" or "noise".
        attack: the attack; its own budget plays no part.
        random: whether it does not look at the network.
    """

    label: str
    kind: str
    attack: BudgetedAttack
    random: bool = False


def contenders(configuration: Configuration, size: int) -> tuple[Contender, ...]:
    """All attacks, with the same number of steps; none stops when the surrogate is fooled, as befits transfer.

    The B-spline field is searched as the polynomial ones are: cross-entropy, steps of one length.

    Args:
        configuration: of the study.
        size: of the images, in pixels.

    Returns:
        Fields first.
    """
    steps, seed = configuration.steps, configuration.seed
    search: dict[str, Any] = {"steps": steps, "seed": seed, "stop_early": False}
    translation = Gradient(translation=_TRANSLATION * size / _TRANSLATION_SIZE)
    return (
        Contender("thin plate", "field", AdversarialSmoothBiasField(warp="thin_plate", **search)),
        Contender("flow", "field", AdversarialSmoothBiasField(warp="flow", **search)),
        Contender("polynomial", "field", AdversarialSmoothBiasField(warp=None, **search)),
        Contender("B-spline", "field", BiasFieldAttack(adaptive=False, objective=CrossEntropy(), **search)),
        Contender("random field", "field", RandomBiasField(draws=steps, seed=seed), random=True),
        Contender("PGD", "noise", PGD(**search)),
        Contender("MI-FGSM", "noise", MIFGSM(**search)),
        Contender("TI-FGSM", "noise", TIFGSM(gradient=translation, **search)),
        Contender("DI-FGSM", "noise", DIFGSM(**search)),
        Contender("random noise", "noise", RandomNoise(draws=steps, seed=seed), random=True),
    )
