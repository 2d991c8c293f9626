"""The adversarial-smooth bias field attack."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from medadv import _arguments
from medadv.attacks.attack import Attack
from medadv.objectives import CrossEntropyOrMargin, Objective
from medadv.perturbations import PolynomialBiasField
from medadv.perturbations.polynomial_bias_field import Basis, CoordinateWarp


@dataclass(frozen=True, repr=False)
class AdversarialSmoothBiasField(Attack):
    """A polynomial bias field, tuned locally by moving its coordinates, raised by sign steps at two rates.

    Tian et al., "Bias field poses a threat to DNN-based X-ray recognition" (2021), AdvSBF, as far as it could be read:
    the polynomial, the thin-plate spline that moves its coordinates, and the penalties that keep the field sparse and
    the motion smooth. With ``warp=None`` it is their AdvBF; `BiasFieldAttack` is the same with a B-spline lattice.

    From code of the same group (Gao et al., "Can you spot the chameleon? Adversarially camouflaging images from
    co-salient object detection", 2022): degree 10, 20 sign steps from the clean image along gradients that are summed
    with momentum 1, 0.1 for coefficients and 0.01 for displacements, both weights 0.01, and the flow. Ours: the limit
    of the gain and steps that are parts of its logarithm (with ``gain=None`` they are the code's), Legendre polynomials
    instead of powers, 8 x 8 control points that keep to their cells, and that solved images leave. The cross-entropy is
    that of their classifiers of one class; of several labels, which they do not speak of, the margin is raised (ours),
    as a sum of cross-entropies pushes all labels at once and misses what the margin finds.

    Args:
        gain: largest factor, above 1: 1.3 allows 1 / 1.3 to 1.3 at every voxel; None: no limit, as in the paper.
        degree: of the polynomial, from 0 to 12.
        basis: "legendre" or "monomial".
        warp: what moves the coordinates: "thin_plate", "flow" or None.
        grid: control points, one number or one per axis, at least 2.
        sparsity: weight of the mean squared log gain that is subtracted from the objective, at least 0.
        smoothness: weight of the squared differences of control displacements that is subtracted from the objective,
            at least 0.
        per_channel: one field for each channel instead of one for all.
        rule: "sign", "l2", "l1" or "adam".
        step_size: length of a step as a fraction of log(gain), or of 1 where there is no limit; of displacements, as
            a fraction of 0.1.
        steps, momentum, adaptive, gradient, restarts, random_start, stop_early, objective, seed: see `Attack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.full((5, 1, 8, 8), 0.5)
    >>> result = AdversarialSmoothBiasField(gain=1.3, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 1.3
    True
    """

    name: ClassVar[str] = "smooth-bias-field"
    budget_field: ClassVar[str] = "gain"

    gain: float | None = 1.3
    degree: int = 10
    basis: Basis = "legendre"
    warp: CoordinateWarp | None = "thin_plate"
    grid: int | tuple[int, ...] = 8
    sparsity: float = 0.01
    smoothness: float = 0.01
    per_channel: bool = False
    rule: str = "sign"
    step_size: float | None = field(default=0.1, kw_only=True)
    momentum: float = field(default=1.0, kw_only=True)
    random_start: bool = field(default=False, kw_only=True)
    objective: Objective = field(default_factory=CrossEntropyOrMargin, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("degree", "grid", "sparsity", "smoothness"):
            object.__setattr__(self, name, getattr(self.perturbation, name))

    @property
    def perturbation(self) -> PolynomialBiasField:
        return PolynomialBiasField(
            self.gain,
            self.degree,
            self.basis,
            self.warp,
            self.grid,
            self.per_channel,
            self.sparsity,
            self.smoothness,
        )

    @property
    def budget(self) -> float:
        """The largest gain; infinity where there is no limit."""
        return math.inf if self.gain is None else self.gain

    def with_budget(self, budget: float) -> AdversarialSmoothBiasField:
        """The same attack with another largest gain.

        Args:
            budget: above 1; infinity: no limit.

        Returns:
            A new attack.
        """
        return replace(self, gain=None if budget == math.inf else _arguments.real(budget, "gain", above=1))
