"""elasticdeform: deformation by a grid of displacements, one image at a time, with gradients to the image alone.

Its wheel is older than NumPy 2: ``pip install --no-binary elasticdeform elasticdeform``.
"""

import elasticdeform
import torch

ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}


def spline_warp(image, lattice, interpolation):
    """A grid of as many points over the image; the displacement is the cubic spline through them."""
    axes, order = tuple(range(1, image.dim() - 1)), ORDERS[interpolation]

    def run(image, lattice):
        moved = [
            elasticdeform.deform_grid(x, control, order, axis=axes, prefilter=order > 1)
            for x, control in zip(image.numpy(), lattice.numpy(), strict=True)
        ]
        return torch.stack([torch.from_numpy(x) for x in moved])

    return run
