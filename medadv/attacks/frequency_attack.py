"""The frequency attack (VAFA)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv.attacks.margin_attack import MarginAttack
from medadv.perturbations import FrequencyQuantisation


@dataclass(frozen=True, repr=False)
class FrequencyAttack(MarginAttack):
    """Coefficients of the cosine transform of blocks rounded, the margin raised by gradient steps.

    After Hanif et al., "Frequency domain adversarial training for robust volumetric medical segmentation" (VAFA,
    2023), who also keep the structural similarity high and make sign steps; see
    `medadv.perturbations.FrequencyQuantisation`. Ours: the gradient described there, and three
    restarts of 30 steps.

    Args:
        step: largest step in 1/255 of the image range, at least 0.
        block: voxels along every axis of a block, at least 2.
        rule: "sign", "l2", or with ``adaptive=False`` "adam".
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, objective, seed: see
            `MarginAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.rand(5, 1, 8, 8)
    >>> result = FrequencyAttack(step=20.0, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> bool((result.distance <= 20.0).all())
    True
    """

    name: ClassVar[str] = "frequency"
    budget_field: ClassVar[str] = "step"

    step: float = 20.0
    block: int = 8
    rule: str = "sign"
    steps: int = field(default=30, kw_only=True)
    restarts: int = field(default=3, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "block", self.perturbation.block)

    @property
    def perturbation(self) -> FrequencyQuantisation:
        return FrequencyQuantisation(self.step, self.block)
