"""Moving an image along the displacement of a cubic B-spline lattice, which is never stored."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv._words import Interpolation, Padding, sampling_words
from medadv.ops._registration import check_tensor
from medadv.ops.warp import register_warp


def spline_warp(
    image: Tensor, lattice: Tensor, interpolation: Interpolation = "linear", padding: Padding = "zeros"
) -> Tensor:
    """Sample an image where a B-spline lattice displaces it, ``y(p) = x(p + B(c)(p))``.

    A free-form deformation (Rueckert et al. 1999): :func:`medadv.ops.warp` by the
    :func:`medadv.ops.spline_field` of the lattice, in one pass and without the memory of that field.

    Args:
        image: ``[N, C, (D,) H, W]``; float16, bfloat16, float32 or float64 (half types are computed in float32), or
            labels: bool, uint8, int8, int16, int32 or int64, which ``nearest`` copies as they are.
        lattice: ``[N, 2 or 3, (Gz,) Gy, Gx]``, displacements in voxels at the control points, components in the order
            of the axes; of the image's dtype, for labels float32. At least 4 control points along every axis. A
            spline stays within the hull of its control points, so these bound the displacement.
        interpolation: ``"nearest"``, ``"linear"`` or ``"cubic"``, as in :func:`medadv.ops.warp`.
        padding: ``"zeros"``, ``"border"`` or ``"reflection"``, as in :func:`medadv.ops.warp`.

    Returns:
        ``[N, C, (D,) H, W]``, contiguous, of the image's dtype. Differentiable once in image and lattice (of
        ``nearest``, to the image alone), and to any order in the image. On the CPU all results have the same bits
        for any number of threads. On CUDA so has the gradient to the lattice; that to the image is summed by
        atomics, in no fixed order, and refused under ``torch.use_deterministic_algorithms``; and that to the lattice
        takes the memory of one image's displacement, or 64 MB if that is more.

    Raises:
        TypeError: An argument is not a tensor.
        ValueError: Shapes, dtypes, devices or words do not fit; the sentence names which.
        RuntimeError: A second derivative to the lattice, or a gradient that would not be deterministic.

    Example:
        >>> import torch
        >>> image = torch.arange(5.0).expand(1, 1, 2, 5)
        >>> to_the_right = torch.tensor([0.0, 0.5])[None, :, None, None].expand(1, 2, 4, 4)
        >>> spline_warp(image, to_the_right, padding="border")[0, 0, 0]
        tensor([0.5000, 1.5000, 2.5000, 3.5000, 4.0000])
    """
    check_tensor("spline_warp", "image", image)
    check_tensor("spline_warp", "lattice", lattice)
    words = sampling_words("spline_warp", interpolation, padding)
    out: Tensor = torch.ops.medadv.spline_warp(image, lattice, *words)
    return out


register_warp("spline_warp", "lattice")
