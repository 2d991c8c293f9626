"""Random noise: what an attack must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.progress import told
from medadv.attacks.questions import Questions
from medadv.attacks.randomness import Draw
from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.perturbations import Additive, Perturbation

# Beyond the restarts of any attack, so that no draw is one of its random starts.
_DRAW_NUMBER = 2**32


@dataclass(frozen=True, repr=False)
class RandomNoise(BudgetedAttack):
    """Noise drawn uniformly from the ball, several times, until the victim is wrong.

    The noise floor of an evaluation (Carlini et al., "On evaluating adversarial robustness", 2019): an attack that
    breaks fewer images is broken itself.

    Args:
        eps: radius of the ball as a fraction of the victim's image range, at least 0.
        norm: "linf" or "l2".
        draws: how many per image, at least 1.
        seed: of the draws, 0 to 2^64 - 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> result = RandomNoise(eps=0.1, draws=3)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.1
    True
    """

    name: ClassVar[str] = "random-noise"
    budget_field: ClassVar[str] = "eps"

    eps: float = 8 / 255
    norm: str = "linf"
    draws: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "draws", _arguments.whole(self.draws, "draws", at_least=1))
        object.__setattr__(self, "seed", _arguments.whole(self.seed, "seed", at_least=0, below=2**64))

    @property
    def perturbation(self) -> Additive:
        return Additive(self.eps, self.norm)

    def _run(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor) -> Result:
        return random_changes(
            self.perturbation, victim, images, targets, ids, clean_logits, draws=self.draws, seed=self.seed
        )


def random_changes(
    perturbation: Perturbation,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor,
    clean_logits: Tensor,
    *,
    draws: int,
    seed: int,
) -> Result:
    """Random changes of any kind within their budget, until the victim is wrong.

    Args:
        perturbation: what may change, and how much.
        victim: the model; its images and targets must have passed `Victim.check`.
        images: [N, C, *S] float32.
        targets: [N] int64.
        ids: [N] int64, numbers of the examples.
        clean_logits: [N, K] of `images`.
        draws: how many per image, at least 1.
        seed: of the draws.

    Returns:
        One row per image.
    """
    with torch.inference_mode(False), torch.no_grad():
        questions = Questions(perturbation, victim, images, targets, ids, clean_logits)
        rows = questions.rows
        for number in told(range(draws)):
            if len(rows) == 0:
                break
            draw = Draw(seed, ids[rows], _DRAW_NUMBER + number)
            _, wrong = questions.ask(rows, number, perturbation.random(questions.images[rows], draw, victim.bounds))
            rows = rows[~wrong]
        return questions.result()
