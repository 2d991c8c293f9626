"""The search: raise the objective by gradient steps inside the budget."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.gradients import graphs, ordinary
from medadv.attacks.progress import told
from medadv.attacks.record import Record
from medadv.attacks.result import Result
from medadv.attacks.search.ascent import RULES
from medadv.attacks.search.clean_pass import CleanPass
from medadv.attacks.search.climb import Climb
from medadv.attacks.search.gradient import Gradient
from medadv.models.victim import Victim
from medadv.objectives.objective import Objective, goals_of
from medadv.objectives.undetected import Undetected
from medadv.perturbations import Perturbation
from medadv.perturbations.perturbation import distance_of


@dataclass(frozen=True)
class Search:
    """How an attack searches.

    Args:
        steps: gradient steps per restart, at least 1.
        rule: "sign", "l2", "l1" or "adam", see `medadv.attacks.search.ascent.Ascent`.
        step_size: length of a step as a fraction of the budget's radius, above 0; None: reach / steps, at most 1; where
            it is adaptive 2, or 1 for rule "l1".
        momentum: decay of the sum of gradients, at least 0; 0 for rule "adam" and adaptive steps.
        adaptive: halve the length of a step, for each image, where it no longer helps, see
            `medadv.attacks.search.adaptive_ascent.AdaptiveAscent`, and for rule "l1"
            `medadv.attacks.search.sparse_ascent.SparseAscent`; not for rule "adam".
        gradient: which gradient is followed, see `medadv.attacks.search.gradient.Gradient`.
        reach: how many radii all steps of the default length go together, above 0 (2.5: Madry et al., "Towards deep
            learning models resistant to adversarial attacks", 2018).
        restarts: how many searches are made for an image that withstands, at least 1.
        random_start: start at random inside the budget, or at the clean image (then one restart only).
        draws: of how many random points a restart starts at the best, at least 1; from 2 on, each costs one forward
            pass. For perturbations of few parameters, whose many local maxima differ more than one climb wins.
        stop_early: images that fooled the victim leave the batch; else the search goes on for the highest objective.
        seed: of the random starts, 0 to 2^64 - 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> Search(steps=10).step_length
    0.25
    """

    steps: int
    rule: str = "sign"
    step_size: float | None = None
    momentum: float = 0.0
    restarts: int = 1
    random_start: bool = True
    stop_early: bool = True
    seed: int = 0
    adaptive: bool = False
    gradient: Gradient = field(default_factory=Gradient)
    reach: float = 2.5
    draws: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _arguments.whole(self.steps, "steps", at_least=1))
        _arguments.choice(self.rule, "rule", RULES)
        if self.step_size is not None:
            object.__setattr__(self, "step_size", _arguments.real(self.step_size, "step_size", above=0))
        object.__setattr__(self, "momentum", _arguments.real(self.momentum, "momentum", at_least=0))
        object.__setattr__(self, "restarts", _arguments.whole(self.restarts, "restarts", at_least=1))
        _arguments.flag(self.random_start, "random_start")
        _arguments.flag(self.stop_early, "stop_early")
        object.__setattr__(self, "seed", _arguments.whole(self.seed, "seed", at_least=0, below=2**64))
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts must be 1 without random_start, as all would be the same, got {self.restarts}.")
        object.__setattr__(self, "draws", _arguments.whole(self.draws, "draws", at_least=1))
        if self.draws > 1 and not self.random_start:
            raise ValueError(f"draws must be 1 without random_start, got {self.draws}.")
        object.__setattr__(self, "reach", _arguments.real(self.reach, "reach", above=0))
        _arguments.flag(self.adaptive, "adaptive")
        if not isinstance(self.gradient, Gradient):
            raise TypeError(f"gradient must be a Gradient, got {self.gradient!r}.")
        if self.adaptive and self.rule == "adam":
            raise ValueError(
                'rule must not be "adam" for adaptive steps, which have lengths of their own (adaptive=True).'
            )
        if self.momentum > 0 and (self.adaptive or self.rule == "adam"):
            what = "adaptive steps, which have their" if self.adaptive else 'rule "adam", which has its'
            raise ValueError(f"momentum must be 0 for {what} own, got {self.momentum}.")
        if self.gradient.nesterov and self.momentum == 0:
            raise ValueError("momentum must be above 0 for a nesterov gradient, which looks ahead along it, got 0.")

    @property
    def step_length(self) -> float:
        """The length of a step as a fraction of the budget's radius."""
        if self.step_size is not None:
            return self.step_size
        if self.adaptive:
            return 1.0 if self.rule == "l1" else 2.0
        return min(self.reach / self.steps, 1.0)

    def starts_at_the_image(self, victim: Victim) -> bool:
        """Whether the first gradient is that at the clean image, as the victim is judged.

        Args:
            victim: the model under attack.
        """
        return not self.random_start and self.gradient.at_the_image(victim)


def maximise(
    search: Search,
    perturbation: Perturbation,
    objective: Objective,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor | None,
    clean: CleanPass | Tensor | None = None,
) -> Result:
    """Raise objective - penalty for each image, inside the budget of the perturbation.

    Gradients go to the parameters of the perturbation alone. Images that the victim gets wrong already are left out.
    An image is fooled when the victim's answer is wrong, or that which the objective has as its goal.

    Args:
        search: how.
        perturbation: what may change, and how much.
        objective: what is raised.
        victim: the model; its images and targets must have passed `Victim.check`.
        images: [N, C, *S] float32.
        targets: [N] int64, or [N, K] where the victim's task is "multilabel".
        ids: [N] int64, the numbers of the examples for the random starts; None: 0 to N - 1.
        clean: the victim's answer to `images` where it is known: its logits [N, K], or the pass that the first step
            goes on from, of a search that starts at the image; else one more forward pass.

    Returns:
        One row per image.

    Raises:
        ValueError: the objective or its gradient is not finite, or the model gives no gradient to its input; a guarded
            victim and an objective that does not know of its detector, or the other way round.

    >>> from medadv.objectives import Margin
    >>> from medadv.perturbations import Additive
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
    >>> images = torch.rand(3, 1, 2, 2)
    >>> targets = net(images).argmax(1)
    >>> maximise(Search(steps=3), Additive(1.0), Margin(), Victim(net), images, targets, torch.arange(3)).success.shape
    torch.Size([3])
    """
    _refuse_one_without_the_other(objective, victim)
    with graphs():
        images, targets = ordinary(images), ordinary(targets)
        first, known = (clean, clean.logits) if isinstance(clean, CleanPass) else (None, clean)
        identity = perturbation.identity(images) if first is None else first.parameters
        if known is None:
            with torch.no_grad():
                known = victim(images)
        logits = ordinary(known)
        answers, right = victim.verdict(logits, targets)
        rows = right.nonzero().flatten()
        # The clean image itself is no find: the first image that is seen replaces it.
        loss = torch.full_like(right, -torch.inf, dtype=torch.float32)
        if rows.shape[0] < right.shape[0]:
            value = objective(logits, targets) - perturbation.penalty(images, identity)
            loss = torch.where(right, loss, value)
        goals = goals_of(objective, logits, targets)
        shown = 0 if isinstance(clean, Tensor) else victim.passes
        record = Record(images, identity, loss, answers, ~right, shown, victim.passes)
        climb = Climb(search, perturbation, objective, victim, images, targets, ids, logits, goals, record)
        for restart in told(range(search.restarts)):
            if restart > 0 and search.stop_early:
                rows = rows[~record.fooled[rows]]
            if rows.shape[0] == 0:
                break
            climb.run(restart, rows, first)
        return record.result(distance_of(perturbation, images, record.parameters, record.images, victim.bounds))


def _refuse_one_without_the_other(objective: Objective, victim: Victim) -> None:
    if victim.guarded and not isinstance(objective, Undetected):
        raise ValueError(
            f"objective must be Undetected(...) for {victim!r}, got {objective!r}, which ignores the detector; what "
            "such an attack does to it is told by transfer(attack, victim without detector, guarded victim, ...)."
        )
    if isinstance(objective, Undetected) and not victim.guarded:
        raise ValueError(f"objective must not be Undetected(...) for a victim without a detector, got {victim!r}.")
