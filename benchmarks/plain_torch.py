"""The strongest plain-PyTorch forms of our operators: the yardstick, eager and under torch.compile.

Separable: one dense basis matrix per axis, applied by matrix products. Far faster than any dedicated library.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def basis(size: int, knots: int) -> Tensor:
    """Dense ``[size, knots]`` matrix of cubic B-spline weights at the voxels of one axis."""
    u = torch.linspace(0, knots - 3, size, dtype=torch.float64)[:, None]
    distance = (u - torch.arange(-1, knots - 1, dtype=torch.float64)).abs()
    near, far = (4 - 6 * distance**2 + 3 * distance**3) / 6, (2 - distance) ** 3 / 6
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0)).float()


def bases(size, knots, device="cpu"):
    """Matrices for :func:`spline_field`, one per axis; the last one transposed, as the product takes it."""
    matrices = [basis(n, k).to(device) for n, k in zip(size, knots, strict=True)]
    return [*matrices[:-1], matrices[-1].T.contiguous()]


def spline_field(lattice: Tensor, matrices: list[Tensor]) -> Tensor:
    """``[N, K, *G] -> [N, K, *S]``."""
    field = matrices[-2] @ (lattice @ matrices[-1])
    if len(matrices) == 3:
        depth = matrices[0] @ field.flatten(3)
        field = depth.reshape(*lattice.shape[:2], -1, *field.shape[3:])
    return field


def bias_field(image: Tensor, lattice: Tensor, matrices: list[Tensor]) -> Tensor:
    """``image * exp(B(lattice))``."""
    return torch.exp(spline_field(lattice, matrices)) * image


MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}


class SplineWarp:
    """``x(p + B(c)(p))``. Identity and normalisation are folded into the control points (splines reproduce linear
    functions), so the sampling grid comes straight out of the products."""

    def __init__(self, size, knots, interpolation="linear", device="cpu"):
        self.mode = MODES[interpolation]
        self.matrices = bases(size, knots, device)
        axes = [(torch.arange(k) - 1.0) * (2 / (k - 3)) - 1 for k in knots]
        self.identity = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None].to(device)
        scale = torch.tensor([2 / (n - 1) for n in size[::-1]])
        self.scale = scale.reshape(1, -1, *[1] * len(size)).to(device)

    def __call__(self, image: Tensor, lattice: Tensor) -> Tensor:
        field = spline_field(lattice.flip(1) * self.scale + self.identity, self.matrices)
        return F.grid_sample(image, field.movedim(1, -1), mode=self.mode, align_corners=True)


class Warp:
    """``x(p + d(p))`` for displacements in voxels, components in the order of the axes."""

    def __init__(self, size, interpolation="linear", device="cpu"):
        self.mode = MODES[interpolation]
        axes = [torch.linspace(-1, 1, n) for n in size]
        self.identity = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None].to(device)
        self.scale = torch.tensor([2 / (n - 1) for n in size[::-1]]).to(device)

    def __call__(self, image: Tensor, displacement: Tensor) -> Tensor:
        grid = displacement.flip(1).movedim(1, -1) * self.scale + self.identity
        return F.grid_sample(image, grid, mode=self.mode, align_corners=True)
