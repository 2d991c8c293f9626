"""Gradients to the input of a victim, or one sentence on why there are none."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from torch import Tensor

from medadv._finite import all_finite
from medadv._graph import without_graph

NO_GRADIENT = (
    "the model must give a gradient to its input, but its logits do not depend on the images in a way that autograd "
    "can follow (detach, no_grad, or a step such as argmax)."
)

_NO_CHANGE = nullcontext()


def graphs() -> AbstractContextManager[object]:
    """Where autograd records, whatever the caller's mode.

    Returns:
        To be entered with ``with``; it does nothing where that is so already.

    >>> with torch.inference_mode(), graphs():
    ...     print(torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    True False
    """
    if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
        return _NO_CHANGE
    modes = ExitStack()
    modes.enter_context(torch.inference_mode(False))
    modes.enter_context(torch.enable_grad())
    return modes


def ordinary(values: Tensor) -> Tensor:
    """Values that autograd may keep, without their graph: a copy of what was made in inference mode.

    Args:
        values: [...].

    Returns:
        The same shape; these themselves where they are such.

    >>> with torch.inference_mode():
    ...     made = torch.ones(2)
    >>> ordinary(made).is_inference()
    False
    """
    return values.clone() if values.is_inference() else without_graph(values)


def slope(values: Tensor, changes: Tensor, weights: Tensor | None = None, retain_graph: bool = False) -> Tensor:
    """Gradient of one value of each row, in one backward pass.

    Args:
        values: [M], computed from `changes`, each row from its row; or [M, K] with weights.
        changes: [M, ...], a leaf that requires a gradient.
        weights: of the shape of `values`: the gradient is that of their weighted sum over each row; default 1.
        retain_graph: whether another backward pass will follow.

    Returns:
        [M, ...].

    Raises:
        ValueError: `values` do not depend on `changes`.

    >>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> slope(x.prod(1), x).tolist()
    [[2.0, 1.0]]
    """
    if not values.requires_grad:
        raise ValueError(NO_GRADIENT)
    weights = torch.ones_like(values) if weights is None else weights
    (found,) = torch.autograd.grad(values, changes, weights, retain_graph=retain_graph, allow_unused=True)
    if found is None:
        raise ValueError(NO_GRADIENT)
    return found


def refuse_not_finite(what: str, values: Tensor, step: int, ids: Tensor) -> None:
    """Raise for the first example with a value that is not finite.

    Args:
        what: how to call the values.
        values: [M], or [M, ...].
        step: number of the step.
        ids: [M] int64, the examples.

    Raises:
        ValueError: NaN or infinity in `values`.
    """
    if all_finite(values):
        return
    bad = ~torch.isfinite(values).reshape(len(values), -1).all(dim=1)
    raise ValueError(f"{what} must be finite, got NaN or infinity for example {int(ids[bad][0])} at step {step}.")
