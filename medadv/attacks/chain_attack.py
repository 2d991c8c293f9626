"""An attack by several perturbations at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from medadv.attacks.margin_attack import MarginAttack
from medadv.perturbations import Additive, Chain, Perturbation, SplineBiasField, SplineDeformation


@dataclass(frozen=True, repr=False)
class ChainAttack(MarginAttack):
    """Several perturbations, one after the other, the margin raised by gradient steps on all.

    The budget is the part of every perturbation's own budget that is allowed (`medadv.perturbations.Chain`). The
    default deforms, then multiplies by a bias field, then adds noise: ours, after the chains of AdvChain (Chen et al.,
    "Enhancing MR image segmentation with realistic adversarial data augmentation", 2022).

    Args:
        strength: which part of each one's budget is allowed, above 0 and at most 1.
        parts: at least one perturbation, in the order in which they change the image.
        rule: "sign", "l2", or with ``adaptive=False`` "adam".
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, objective, seed: see
            `MarginAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.rand(5, 1, 8, 8)
    >>> result = ChainAttack(strength=0.5, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> sorted(result.parameters)
    ['0.lattice', '1.lattice', '2.noise']
    """

    name: ClassVar[str] = "chain"
    budget_field: ClassVar[str] = "strength"

    strength: float = 1.0
    parts: tuple[Perturbation, ...] = (SplineDeformation(2.0, jacobian=0.1), SplineBiasField(1.3), Additive(2 / 255))
    rule: str = "sign"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "parts", self.perturbation.parts)

    @property
    def perturbation(self) -> Chain:
        return Chain(self.parts, self.strength)
