"""The free deformation attack (stAdv)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from medadv._words import Padding
from medadv.attacks.margin_attack import MarginAttack
from medadv.perturbations import Flow


@dataclass(frozen=True, repr=False)
class FlowAttack(MarginAttack):
    """Every voxel moved on its own, with limited displacement, the margin raised by gradient steps.

    After Xiao et al., "Spatially transformed adversarial examples" (stAdv, 2018), who find the flow by L-BFGS without
    a limit; the largest displacement and the search within it are ours.

    Args:
        displacement: largest displacement in voxels, at least 0.
        smoothness: weight of the flow loss, per voxel, that is subtracted from the objective, at least 0.
        padding: what lies outside the image: its "border" voxels or its "reflection".
        rule: "sign", "l2", or with ``adaptive=False`` "adam".
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, objective, seed: see
            `MarginAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.rand(5, 1, 8, 8)
    >>> result = FlowAttack(displacement=1.5, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> bool((result.distance <= 1.5).all())
    True
    """

    name: ClassVar[str] = "flow"
    budget_field: ClassVar[str] = "displacement"

    displacement: float = 1.0
    smoothness: float = 0.05
    padding: Padding = "border"
    rule: str = "sign"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "smoothness", self.perturbation.smoothness)

    @property
    def perturbation(self) -> Flow:
        return Flow(self.displacement, self.smoothness, self.padding)
