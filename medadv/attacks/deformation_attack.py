"""The smooth deformation attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from medadv._words import Interpolation, Padding
from medadv.attacks.margin_attack import MarginAttack
from medadv.perturbations import SplineDeformation


@dataclass(frozen=True, repr=False)
class DeformationAttack(MarginAttack):
    """A smooth deformation with limited displacement and folding, the margin raised by gradient steps.

    The image is sampled where a cubic B-spline moves its voxels (`medadv.perturbations.SplineDeformation`). After
    AdvMorph of AdvChain (Chen et al., "Enhancing MR image segmentation with realistic adversarial data augmentation",
    2022), which integrates a velocity; the budgets on displacement and folding and the search are ours: two restarts,
    as there are local maxima, of 30 steps (on the network of `medadv demo`, 15 still gain when doubled).

    Args:
        displacement: largest displacement in voxels, at least 0.
        spacing: distance of control points in voxels, one number or one per axis; None: a quarter of the largest axis.
        jacobian: smallest Jacobian determinant, below 1 (above 0 nothing folds); None: no limit.
        interpolation: "linear" or "cubic".
        padding: what lies outside the image: its "border" voxels or its "reflection".
        smoothness: weight of the mean bending energy that is subtracted from the objective, at least 0.
        rule: "sign", "l2", or with ``adaptive=False`` "adam".
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, objective, seed: see
            `MarginAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.rand(5, 1, 8, 8)
    >>> result = DeformationAttack(displacement=2.0, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> bool((result.distance <= 2.0).all())
    True
    """

    name: ClassVar[str] = "deformation"
    budget_field: ClassVar[str] = "displacement"

    displacement: float = 2.0
    spacing: float | tuple[float, ...] | None = None
    jacobian: float | None = 0.1
    interpolation: Interpolation = "linear"
    padding: Padding = "border"
    smoothness: float = 0.0
    rule: str = "sign"
    steps: int = field(default=30, kw_only=True)
    restarts: int = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "spacing", self.perturbation.spacing)
        object.__setattr__(self, "jacobian", self.perturbation.jacobian)
        object.__setattr__(self, "smoothness", self.perturbation.smoothness)

    @property
    def perturbation(self) -> SplineDeformation:
        return SplineDeformation(
            self.displacement, self.spacing, self.jacobian, self.interpolation, self.padding, self.smoothness
        )
