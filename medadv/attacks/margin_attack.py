"""An attack that raises the margin by steps whose length adapts."""

from __future__ import annotations

from dataclasses import dataclass, field

from medadv.attacks.attack import Attack
from medadv.objectives import Margin, Objective


@dataclass(frozen=True, kw_only=True, repr=False)
class MarginAttack(Attack):
    """An `Attack` as the perturbations of medical images are best searched by: what the families share.

    Ours, and measured in `benchmarks/local_maxima.py`. The margin, because cross-entropy sums over all wrong classes or
    all labels, and its maximum in a small budget is often not where any one of them wins. Adaptive steps, because
    steps of one length pass by narrower maxima.

    Args:
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, objective, seed: see
            `Attack`. Momentum, and rule "adam", need ``adaptive=False``.
    """

    adaptive: bool = True
    objective: Objective = field(default_factory=Margin)
