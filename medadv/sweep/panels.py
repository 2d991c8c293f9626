"""The few images of a unit that are kept to be looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medadv.attacks import BudgetedAttack, MinimumNormAttack, Result
from medadv.perturbations import PolynomialBiasField, SplineBiasField

PANELS = 2  # per unit

Panels = dict[str, NDArray[Any]]
"""examples, slices int64 [P]; clean, adversarial float32 [P, C, H, W]; change float32 [P, 1 or C, H, W].

Of a volume the slice along its first axis is kept that changed most; `slices` has its number, and -1 for an image.
"""


def panel_examples(labels: NDArray[Any], correct: NDArray[np.bool_], first: int) -> NDArray[np.int64]:
    """Which images of a shard to keep: right ones, of different classes where there are.

    The same for every attack and budget, so that a reader can follow one image.

    Args:
        labels: [M] of the shard, class numbers or texts.
        correct: bool [M], whether the model is right about the clean image.
        first: number of the shard's first image.

    Returns:
        Numbers of at most PANELS images, rising.

    >>> panel_examples(np.array([0, 0, 1]), np.array([True, True, True]), first=10).tolist()
    [10, 12]
    """
    rows = np.flatnonzero(correct)
    _, firsts = np.unique(labels[rows], return_index=True)
    ahead = rows[np.sort(firsts)]
    chosen = np.concatenate([ahead, np.setdiff1d(rows, ahead)])[:PANELS]
    return np.sort(chosen).astype(np.int64) + first


def draw_panels(
    attack: BudgetedAttack | MinimumNormAttack,
    examples: NDArray[np.int64],
    images: Tensor,
    result: Result,
    rows: NDArray[np.int64],
) -> Panels:
    """The panels of those examples that an attack has just tried.

    Args:
        attack: the attack; of a bias field the change is the log gain, else the difference.
        examples: numbers of the wanted images.
        images: [M, C, *S], clean.
        result: of the attack on them.
        rows: [M], numbers of the attacked images.

    Returns:
        Panels of the wanted images among `rows`.
    """
    wanted = np.flatnonzero(np.isin(rows, examples))
    places = torch.from_numpy(wanted).to(images.device)
    clean, adversarial = images[places], result.images[places]
    perturbation = attack.perturbation
    if isinstance(perturbation, SplineBiasField | PolynomialBiasField):
        change = perturbation.log_gain(clean, {name: values[places] for name, values in result.parameters.items()})
    else:
        change = adversarial - clean
    slices = _most_changed(change)
    views = {"clean": clean, "adversarial": adversarial, "change": change}
    return {
        "examples": rows[wanted],
        "slices": slices.cpu().numpy(),
        **{name: _slices_of(values, slices).cpu().numpy() for name, values in views.items()},
    }


def panels_within(panels: Panels, examples: NDArray[np.int64]) -> Panels:
    """Panels of an attack whose finds count for some examples only; the others stay clean.

    Args:
        panels: of all wanted examples.
        examples: whose finds count.

    Returns:
        Panels of the same examples.
    """
    if not panels:
        return panels
    kept = np.isin(panels["examples"], examples).reshape(-1, 1, 1, 1)
    return {
        **panels,
        "adversarial": np.where(kept, panels["adversarial"], panels["clean"]),
        "change": np.where(kept, panels["change"], np.float32(0)),
    }


def panels_of(panels: Panels, examples: NDArray[np.int64]) -> Panels:
    """The panels of some examples.

    Args:
        panels: of all wanted examples; may be empty.
        examples: which of them, in any order; others may be among them.

    Returns:
        Panels of those that are in both.
    """
    kept = np.isin(panels["examples"], examples) if panels else None
    return {name: values[kept] for name, values in panels.items()}


def _most_changed(change: Tensor) -> Tensor:
    """Along the first axis of each volume, the slice that changed most in all, int64 [P]; -1 of images."""
    if change.ndim == 4:
        return torch.full((len(change),), -1)
    count = change.shape[2]
    # Of slices that changed alike, the one nearest to the middle.
    order = (torch.arange(count) - (count - 1) / 2).abs().argsort(stable=True)
    amount = change.double().abs().sum(dim=(1, 3, 4)).cpu()
    return order[amount[:, order].argmax(dim=1)]


def _slices_of(values: Tensor, slices: Tensor) -> Tensor:
    if values.ndim == 4:
        return values
    return values[torch.arange(len(values), device=values.device), :, slices.to(values.device)]


def merge_panels(old: Panels, new: Panels) -> Panels:
    """`old` with the examples of `new` put in their place or added.

    Args:
        old: panels; may be empty.
        new: panels of some examples; may be empty.

    Returns:
        Panels with rising numbers.
    """
    if not old or not new:
        return old or new
    kept = ~np.isin(old["examples"], new["examples"])
    joined = {name: np.concatenate([old[name][kept], new[name]]) for name in old}
    order = np.argsort(joined["examples"])
    return {name: values[order] for name, values in joined.items()}
