"""What the study of the stabilised attack runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medadv.attacks import BIM, FGSM, PGD, StabilisedMedicalAttack
from medadv.objectives import CrossEntropy, Stabilised
from medadv.objectives.stabilised import SMOOTHED
from studies._common.image_sources import KERMANY, MEDNIST, SHENZHEN, ImageSource, Phantoms

# A stabilised step asks for two answers and a gradient, a plain one for an answer and a gradient.
CALLS_OF_A_STEP, CALLS_OF_A_PLAIN_STEP = 3, 2


@dataclass(frozen=True)
class Configuration:
    """All that decides the results.

    Args:
        sources: image sets, of different modalities.
        architectures: of the networks.
        training_seeds: of the networks.
        images: largest number of images attacked per set.
        steps: of the stabilised attack, a multiple of 2.
        weights: of the stabilisation, rising, above 0; weight 0 is always run.
        smoothed: readings of what is smoothed.
        eps: budgets, as fractions of the image range.
        resamples: of the bootstrap.
        seed: of random starts and the bootstrap.
    """

    sources: tuple[ImageSource, ...] = (KERMANY, SHENZHEN, MEDNIST)
    architectures: tuple[str, ...] = ("residual", "dense", "mobile")
    training_seeds: tuple[int, ...] = (0,)
    images: int = 60
    steps: int = 10
    weights: tuple[float, ...] = (0.1, 0.5, 1.0, 3.0)
    smoothed: tuple[str, ...] = SMOOTHED
    eps: tuple[float, ...] = (2 / 255, 8 / 255)
    resamples: int = 2000
    seed: int = 0


QUICK = Configuration(
    sources=tuple(
        Phantoms(name, size=32, training=192, test=32, epochs=10, seed=seed)
        for seed, name in enumerate(("phantoms", "other phantoms"))
    ),
    architectures=("residual",),
    steps=2,
    weights=(1.0,),
    smoothed=("delta", "step"),
    eps=(8 / 255, 32 / 255),
    resamples=50,
)


@dataclass(frozen=True)
class Contender:
    """An attack of the comparison.

    Args:
        label: how results and figures call it.
        attack: the attack; its own budget plays no part.
        weight: of the stabilisation; None where there is none.
        smoothed: the reading of what is smoothed; None where there is none.
    """

    label: str
    attack: PGD
    weight: float | None = None
    smoothed: str | None = None


def contenders(configuration: Configuration) -> tuple[Contender, ...]:
    """All attacks; none stops when the network is fooled, so that each makes all its calls.

    Args:
        configuration: of the study.

    Returns:
        Plain attacks first: `FEW_STEPS` has as many steps as the stabilised attack, `REFERENCE` and PGD ask the network
        as often; FGSM is one step and cannot.
    """
    steps, seed = configuration.steps, configuration.seed
    equal = steps * CALLS_OF_A_STEP // CALLS_OF_A_PLAIN_STEP
    search: dict[str, Any] = {"seed": seed, "stop_early": False}
    plain = (
        Contender(FEW_STEPS, _stabilised(0.0, configuration.smoothed[0], steps, search), weight=0.0),
        Contender(REFERENCE, BIM(steps=equal, **search)),
        Contender("PGD, equal calls", PGD(steps=equal, **search)),
        Contender("FGSM", FGSM(**search)),
    )
    stabilised = tuple(
        Contender(f"{smoothed}, weight {weight:g}", _stabilised(weight, smoothed, steps, search), weight, smoothed)
        for smoothed in configuration.smoothed
        for weight in configuration.weights
    )
    return plain + stabilised


REFERENCE = "BIM, equal calls"
FEW_STEPS = "weight 0 (BIM, equal steps)"


def _stabilised(weight: float, smoothed: str, steps: int, search: dict[str, Any]) -> StabilisedMedicalAttack:
    objective = Stabilised(CrossEntropy(), weight=weight, target=smoothed)
    return StabilisedMedicalAttack(steps=steps, objective=objective, **search)
