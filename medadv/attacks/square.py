"""Square attack."""

from __future__ import annotations

import math
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
from medadv.attacks.square_images import L2Images, LinfImages
from medadv.attacks.square_moves import L2Squares, LinfSquares
from medadv.models.victim import Victim
from medadv.perturbations import Additive

NORMS = ("linf", "l2")

# Share of the queries, in ten-thousandths, after which the squares become half as large in area.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)

_BLOCK = 64  # queries whose random numbers are drawn together


@dataclass(frozen=True, repr=False)
class Square(BudgetedAttack):
    """Random squares of the largest allowed change, each kept where it raises the margin; asks for logits only.

    Andriushchenko et al., "Square attack: a query-efficient black-box adversarial attack via random search" (2020),
    with AutoAttack's constants. Stripes to begin with ("linf") or tiles ("l2"); then one square per query, at first
    0.8 of the image, halved nine times on a fixed schedule. Ours: cubes in volumes, random numbers of each example's
    own, images leave when fooled, and the squares in "l2" keep a voxel from the border of all but small images.

    Args:
        eps: radius of the ball as a fraction of the victim's image range, at least 0.
        norm: "linf" or "l2".
        queries: how often the victim may be asked per image, beyond the clean image, at least 1.
        share: of the image, that the first squares cover, above 0, at most 1.
        seed: of the squares, 0 to 2^64 - 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> result = Square(eps=0.5, queries=20)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 0.5, int(result.backwards.sum())
    (True, 0)
    """

    name: ClassVar[str] = "square"
    budget_field: ClassVar[str] = "eps"

    eps: float = 8 / 255
    norm: str = "linf"
    queries: int = 5000
    share: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _arguments.choice(self.norm, "norm", NORMS)
        object.__setattr__(self, "queries", _arguments.whole(self.queries, "queries", at_least=1))
        object.__setattr__(self, "share", _arguments.real(self.share, "share", above=0))
        if self.share > 1:
            raise ValueError(f"share must be at most 1, got {self.share!r}.")
        object.__setattr__(self, "seed", _arguments.whole(self.seed, "seed", at_least=0, below=2**64))

    @property
    def perturbation(self) -> Additive:
        return Additive(self.eps, self.norm)

    def share_at(self, query: int) -> float:
        """Share of the image that the square of a query covers.

        Args:
            query: number of the query, from 1; the one before, number 0, has no square.

        Returns:
            Above 0, at most `share`.

        >>> [round(0.8 / Square(queries=10000).share_at(query)) for query in (1, 11, 12, 52, 8002)]
        [1, 1, 2, 4, 512]
        """
        done = (query - 1) * 10000 // self.queries
        return self.share * math.pow(0.5, sum(done > limit for limit in _HALVINGS))

    def _run(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor) -> Result:
        with torch.inference_mode(False), torch.no_grad():
            questions = Questions(self.perturbation, victim, images, targets, ids, clean_logits)
            if len(questions.rows):
                self._search(questions)
            return questions.result()

    def _search(self, questions: Questions) -> None:
        bounds, rows = questions.victim.bounds, questions.rows
        (radius,) = self.perturbation.radii(bounds).values()
        shape = tuple(questions.images.shape[1:])
        moves = (LinfSquares if self.norm == "linf" else L2Squares)(shape, radius)
        changed = (LinfImages if self.norm == "linf" else L2Images)(self.perturbation, questions)
        best = changed.fitted(rows, moves.first(Draw(self.seed, questions.ids[rows], 0)))
        answers = questions.show(rows, 0, changed.images(rows, best))
        numbers = best.new_empty(len(rows), 0)
        for query in told(range(1, self.queries + 1)):
            leaving = answers.fooled if query < self.queries else torch.ones_like(answers.fooled)
            if bool(leaving.any()):
                changed.note(rows, query - 1, best, answers, leaving)
                rows, best, answers = rows[~leaving], best[~leaving], answers.of_rows(~leaving)
                numbers = numbers[~leaving]
                if len(rows) == 0:
                    return
            block, number = divmod(query - 1, _BLOCK)
            if number == 0:
                numbers = Draw(self.seed, questions.ids[rows], 1 + block).uniform((_BLOCK, moves.numbers))
            noise = changed.fitted(rows, moves.next(best, numbers[:, number], self.share_at(query)))
            new = questions.show(rows, query, changed.images(rows, noise))
            answers, raised = answers.better(new)
            better = raised.nonzero().flatten()
            best.index_copy_(0, better, noise.index_select(0, better))
