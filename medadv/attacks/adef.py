"""ADef: DeepFool for deformations."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.minimum_norm.boundary import CLASSES, Boundary, chosen, rivals
from medadv.attacks.minimum_norm.hunt import ANY_FLOW, DISPLACEMENT, Hunt
from medadv.attacks.minimum_norm.length import positive
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormGradientAttack
from medadv.attacks.progress import told
from medadv.ops import gaussian_blur
from medadv.perturbations import Perturbation
from medadv.perturbations.motion import largest_length


@dataclass(frozen=True, repr=False)
class ADef(MinimumNormGradientAttack):
    """Small smooth deformations, each to the nearest boundary of the linearised model, until the victim is fooled.

    Alaifari et al., "ADef: an iterative algorithm to construct adversarial deformations" (2019). With a the gradient of
    a rival's lead to the vector at every voxel and S a Gaussian blur, a step is f / |S a|^2 S S a: of all S v the one
    with the shortest v that makes up for f, what the lead lacks. The paper's 100 steps, the deformation made longer by
    a share of 0.2, and 10 classes, of which the one that needs the smallest displacement is chosen. The paper calls an
    image fooled where nothing moved by more than 3 voxels: `Result.success_within(3)`. Ours: vectors are added, and
    the clean image is moved once along their sum, where the paper moves the moved image; slopes are those of linear
    interpolation, not of central differences.

    `distance` is the largest displacement in voxels.

    Args:
        smoothing: standard deviation in voxels of the Gaussian, zero beyond the border, at least 0.
        overshoot: by which share the deformation is made longer than to the boundary, at least 0.
        classes: how many classes are considered, the right one included, at least 2.
        steps, kappa: see `MinimumNormGradientAttack`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    >>> images = torch.rand(5, 1, 8, 8)
    >>> result = ADef()(Victim(net), images, net(images).argmax(1))
    >>> bool((result.success_within(3) <= result.success).all())
    True
    """

    name: ClassVar[str] = "adef"

    smoothing: float = 1.0
    overshoot: float = 0.2
    classes: int = CLASSES
    steps: int = field(default=100, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "smoothing", _arguments.real(self.smoothing, "smoothing", at_least=0))
        object.__setattr__(self, "overshoot", _arguments.real(self.overshoot, "overshoot", at_least=0))
        object.__setattr__(self, "classes", _arguments.whole(self.classes, "classes", at_least=2))

    @property
    def perturbation(self) -> Perturbation:
        return ANY_FLOW

    @property
    def measure(self) -> str:
        return DISPLACEMENT

    def _chase(self, hunt: Hunt) -> None:
        rows = hunt.rows
        others = rivals(hunt.logits[rows], hunt.targets[rows], self.classes - 1)
        flow = ANY_FLOW.identity(hunt.images[rows])["flow"]
        for step in told(range(self.steps)):
            flow, going = hunt.in_packs(partial(self._step, hunt, step), rows, flow, others)
            rows, others, flow = rows[going], others[going], flow[going]
            if len(rows) == 0:
                return

    def _step(self, hunt: Hunt, step: int, rows: Tensor, flow: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """The next flows, and which images go on."""
        longer = 1 + self.overshoot
        boundary = (
            Boundary.at(hunt, rows, step, longer * flow, others) if step else Boundary.at_clean(hunt, rows, others)
        )
        flow = flow + self._move(boundary)
        # Backward passes are many: those of images that are done cost more than to show the others once more.
        with torch.no_grad():
            return flow, ~hunt.look(rows, step + 1, longer * flow).adversarial

    def _move(self, boundary: Boundary) -> Tensor:
        """The smooth flow [M, D, *S] to the class that needs the smallest displacement."""
        slopes = boundary.weight.flatten(0, 1).double()
        blurred = gaussian_blur(slopes, self.smoothing, padding="zeros")
        smooth = gaussian_blur(blurred, self.smoothing, padding="zeros")
        gain = blurred.square().flatten(1).sum(dim=1)
        share = (boundary.rise.double().flatten() / positive(gain)).reshape(-1, *[1] * (smooth.ndim - 1))
        moves = share * smooth
        # A class that no motion leads to is nobody's choice.
        size = torch.where(gain > 0, largest_length(moves), torch.inf).reshape(boundary.rise.shape)
        return chosen(moves.reshape(boundary.weight.shape), size.argmin(dim=1)).float()
