"""The uniform cubic B-spline the textbook way: an independent oracle for every spline operator."""

import torch


def basis(size, knots, derivative=0):
    """Dense [size, knots] float64 matrix of the spline weights at the voxels of an axis (derivatives per cell)."""
    u = torch.zeros(size, dtype=torch.float64) if size == 1 else torch.linspace(0, knots - 3, size, dtype=torch.float64)
    r = u[:, None] - torch.arange(-1, knots - 1, dtype=torch.float64)[None]
    a, sign = r.abs(), r.sign()
    inner, outer = [
        ((4 - 6 * a**2 + 3 * a**3) / 6, (2 - a) ** 3 / 6),
        (sign * (-2 * a + 1.5 * a**2), -sign * (2 - a) ** 2 / 2),
        (3 * a - 2, 2 - a),
    ][derivative]
    return torch.where(a < 1, inner, torch.where(a < 2, outer, 0.0))


def spline_field(lattice, size, derivative=None):
    """[N, K, *G] -> [N, K, *size] in float64, contracted axis by axis."""
    field = lattice.double().cpu()
    for axis, n in enumerate(size):
        b = basis(n, field.shape[axis + 2], derivative[axis] if derivative else 0)
        field = torch.movedim(torch.tensordot(field, b, ([axis + 2], [1])), -1, axis + 2)
    return field


def bias_field(image, lattice):
    """image * exp(B(lattice)) in float64."""
    return image.double().cpu() * spline_field(lattice, image.shape[2:]).exp()
