"""The bias field attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from medadv.attacks.margin_attack import MarginAttack
from medadv.perturbations import SplineBiasField


@dataclass(frozen=True, repr=False)
class BiasFieldAttack(MarginAttack):
    """A smooth multiplicative field with a limited gain, as coils and heel effects make, the margin raised by steps.

    The field is the exponential of a cubic B-spline (`medadv.perturbations.SplineBiasField`), its control points are
    what is searched. After AdvBias (Chen et al., "Realistic adversarial data augmentation for MR image segmentation",
    2020); the budget on the gain at every voxel and the search are ours.

    Args:
        gain: largest factor, above 1: 1.3 allows 1 / 1.3 to 1.3 at every voxel.
        spacing: distance of control points in voxels, one number or one per axis; None: a quarter of the largest axis.
        smoothness: weight of the mean bending energy that is subtracted from the objective, at least 0.
        per_channel: one field for each channel instead of one for all.
        rule: "sign", "l2", "l1", or with ``adaptive=False`` "adam".
        steps, step_size, momentum, adaptive, gradient, restarts, random_start, draws, stop_early, objective, seed: see
            `MarginAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.full((5, 1, 8, 8), 0.5)
    >>> result = BiasFieldAttack(gain=1.3, steps=5)(Victim(net), images, net(images).argmax(1))
    >>> float(result.distance.max()) <= 1.3
    True
    """

    name: ClassVar[str] = "bias-field"
    budget_field: ClassVar[str] = "gain"

    gain: float = 1.3
    spacing: float | tuple[float, ...] | None = None
    smoothness: float = 0.0
    per_channel: bool = False
    rule: str = "sign"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "spacing", self.perturbation.spacing)
        object.__setattr__(self, "smoothness", self.perturbation.smoothness)

    @property
    def perturbation(self) -> SplineBiasField:
        return SplineBiasField(self.gain, self.spacing, self.per_channel, self.smoothness)
