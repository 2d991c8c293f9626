"""Input diversity: the gradient of a randomly shrunk and shifted image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv import _arguments, ops
from medadv.perturbations.perturbation import Bounds, Draw


@dataclass(frozen=True)
class Diversity:
    """Shrink an image by a random factor, put it at a random place, and fill up with the lowest image value.

    Xie et al., "Improving transferability of adversarial examples with input diversity" (2019), which enlarges the
    image instead; as most networks for medical images want one size, it is shrunk here, by the same factors (299 to
    330 pixels). One factor for all axes; linear interpolation; 2D and 3D.

    Args:
        probability: of changing an image at all, 0 to 1.
        smallest: lowest factor, above 0 and below 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> Diversity()
    Diversity(probability=0.5, smallest=0.9)
    """

    probability: float = 0.5
    smallest: float = 0.9

    def __post_init__(self) -> None:
        object.__setattr__(self, "probability", _arguments.real(self.probability, "probability", at_least=0))
        object.__setattr__(self, "smallest", _arguments.real(self.smallest, "smallest", above=0, below=1))
        if self.probability > 1:
            raise ValueError(f"probability must be at most 1, got {self.probability!r}.")

    def motion(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Draw what happens to each image.

        Args:
            images: [N, C, *S].
            draw: random numbers per example.

        Returns:
            Displacement in voxels [N, len(S), *S] float32, and which images change, bool [N].
        """
        axes = images.ndim - 2
        numbers = (draw.uniform((2 + axes,)) + 1) / 2
        changed, factors = numbers[:, 0] < self.probability, self.smallest + (1 - self.smallest) * numbers[:, 1]
        along = [
            self._along(size, factors, numbers[:, 2 + axis]).reshape(-1, *[1] * axis, size, *[1] * (axes - 1 - axis))
            for axis, size in enumerate(images.shape[2:])
        ]
        shape = (len(images), *images.shape[2:])
        return torch.stack([values.expand(shape) for values in along], dim=1), changed

    def _along(self, size: int, factors: Tensor, places: Tensor) -> Tensor:
        """Displacements along one axis, [N, size]: voxel p of the new image shows (p - first) / factor of the old."""
        first = (places * (1 - factors) * (size - 1)).unsqueeze(1)
        positions = torch.arange(size, dtype=torch.float32, device=factors.device)
        return (positions - first) / factors.unsqueeze(1) - positions


def moved(images: Tensor, motion: tuple[Tensor, Tensor], bounds: Bounds) -> Tensor:
    """Images after a motion; differentiable.

    Args:
        images: [N, C, *S] float32 inside `bounds`.
        motion: of `Diversity.motion`.
        bounds: (low, high) in image units.

    Returns:
        [N, C, *S] inside `bounds`; an image that does not change keeps its bits.
    """
    displacement, changed = motion
    low = bounds[0]
    warped = (ops.warp(images - low, displacement) + low).clamp(*bounds)
    return torch.where(changed.reshape(-1, *[1] * (images.ndim - 1)), warped, images)
