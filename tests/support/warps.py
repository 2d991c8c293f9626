"""Warping the textbook way: an independent oracle, whose derivatives are autograd's."""

import itertools

import torch

INTERPOLATIONS = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")


def warp(image, displacement, interpolation="linear", padding="zeros"):
    """x(p + d(p)) in float64, tap by tap: weights of the position, voxels of the continued image."""
    x, d = image.double().cpu(), displacement.double().cpu()
    size = x.shape[2:]
    taps = []
    for axis, n in enumerate(size):
        shape = [-1 if i == axis else 1 for i in range(len(size))]
        taps.append(_taps(torch.arange(n, dtype=torch.float64).reshape(shape) + d[:, axis], interpolation))
    out = torch.zeros_like(x)
    for chosen in itertools.product(*taps):
        weight, index, inside = 1, 0, True
        for (at, w), n in zip(chosen, size, strict=True):
            voxel, exists = _continued(at, n, padding)
            weight, index, inside = weight * w, index * n + voxel, inside & exists
        values = x.flatten(2).gather(2, index.flatten(1)[:, None].expand(*x.shape[:2], -1)).reshape(x.shape)
        out = out + torch.where(inside[:, None], values, 0.0) * weight[:, None]
    return out


def _taps(position, interpolation):
    """(index, weight) of every tap along one axis."""
    if interpolation == "nearest":
        return [(position.detach().round().long(), torch.ones_like(position))]
    below = position.detach().floor()
    t = position - below
    if interpolation == "linear":
        return [(below.long(), 1 - t), (below.long() + 1, t)]
    return [(below.long() + k, _keys((t - k).abs())) for k in (-1, 0, 1, 2)]


def _keys(r, a=-0.75):
    """The cubic convolution kernel at distance r (Keys 1981)."""
    near, far = (a + 2) * r**3 - (a + 3) * r**2 + 1, a * r**3 - 5 * a * r**2 + 8 * a * r - 4 * a
    return torch.where(r <= 1, near, far)


def _continued(index, size, padding):
    """The voxel that stands at an index, and whether there is one."""
    if padding == "zeros":
        return index.clamp(0, size - 1), (index >= 0) & (index < size)
    if padding == "reflection" and size > 1:
        index = index.remainder(2 * size - 2)
        index = torch.minimum(index, 2 * size - 2 - index)
    return index.clamp(0, size - 1), torch.ones_like(index, dtype=torch.bool)
