"""Polynomial bias fields the textbook way: an independent oracle, whose derivatives are autograd's."""

import torch
import torch.nn.functional as F

from medadv.ops import polynomial_terms

BASES = ("legendre", "monomial")
WARPS = (None, "thin_plate", "flow")


def coordinates(size):
    """``[axes, *size]`` in float64, from -1 to 1 along every axis, 0 where it has one voxel."""
    axes = [torch.linspace(-1, 1, n, dtype=torch.float64) if n > 1 else torch.zeros(n).double() for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def displacement(control, size, warp):
    """``[N, axes, *size]`` of control points ``[N, axes, *G]``."""
    control = control.double().cpu()
    if warp == "flow":
        # Sampled at the coordinates, so that an axis of one voxel is sampled in its middle.
        grid = coordinates(size).flip(0).movedim(0, -1).expand(len(control), *size, -1)
        return F.grid_sample(control, grid, mode="bilinear", align_corners=True)
    knots = coordinates(control.shape[2:]).flatten(1).T
    voxels = coordinates(size).flatten(1).T
    affine = torch.cat([torch.ones(len(knots), 1), knots], 1)
    system = torch.cat([torch.cat([_kernel(knots, knots), affine], 1), F.pad(affine.T, (0, affine.shape[1]))])
    values = F.pad(control.flatten(2), (0, affine.shape[1])).movedim(2, 0).flatten(1)
    weights = torch.linalg.solve(system, values)
    field = torch.cat([_kernel(voxels, knots), torch.ones(len(voxels), 1), voxels], 1) @ weights
    return field.reshape(*size, *control.shape[:2]).movedim((-2, -1), (0, 1))


def _kernel(a, b):
    square = (a[:, None] - b[None]).square().sum(-1)
    return torch.xlogy(square, square) if a.shape[1] == 2 else square.sqrt()


def powers(x, degree, basis):
    """P_0(x), P_1(x), ..."""
    values = [torch.ones_like(x), x]
    for n in range(1, degree):
        values.append(
            x * values[n] if basis == "monomial" else ((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1)
        )
    return values[: degree + 1]


def polynomial_bias_field(image, coefficients, control=None, *, degree, basis="legendre", warp=None):
    """image * exp(sum of a P P (P)) in float64, term by term."""
    image, coefficients = image.double().cpu(), coefficients.double().cpu()
    at = coordinates(image.shape[2:]).expand(len(image), *[-1] * (image.dim() - 1))
    if warp is not None:
        at = at + displacement(control, image.shape[2:], warp)
    per_axis = [powers(u, degree, basis) for u in at.unbind(1)]
    field = torch.zeros_like(image)
    for m, exponents in enumerate(polynomial_terms(degree, image.dim() - 2)):
        term = torch.ones(())
        for values, n in zip(per_axis, exponents, strict=True):
            term = term * values[n]
        a = coefficients[:, :, m].reshape(*coefficients.shape[:2], *[1] * (image.dim() - 2))
        field = field + a * term[:, None]
    return image * field.exp()
