"""The few images of a unit that are kept to be looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medadv.attacks import Attack, Result
from medadv.perturbations import PolynomialBiasField, SplineBiasField

PANELS = 2  # per unit

Panels = dict[str, NDArray[Any]]
"""examples int64 [P]; clean, adversarial float32 [P, C, H, W]; change float32 [P, 1 or C, H, W]."""


def panel_examples(labels: NDArray[np.int64], correct: NDArray[np.bool_], first: int) -> NDArray[np.int64]:
    """Which images of a shard to keep: right ones, of different classes where there are.

    The same for every attack and budget, so that a reader can follow one image.

    Args:
        labels: [M] of the shard.
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
    attack: Attack, examples: NDArray[np.int64], images: Tensor, result: Result, rows: NDArray[np.int64]
) -> Panels:
    """The panels of those examples that an attack has just tried.

    Args:
        attack: the attack; of a bias field the change is the log gain, else the difference.
        examples: numbers of the wanted images.
        images: all clean images [N, C, H, W].
        result: of the attack on `rows`.
        rows: numbers of the attacked images.

    Returns:
        Panels of the wanted images among `rows`.
    """
    places = torch.from_numpy(np.flatnonzero(np.isin(rows, examples))).to(images.device)
    clean = images[torch.from_numpy(rows).to(images.device)[places]]
    adversarial = result.images[places]
    perturbation = attack.perturbation
    if isinstance(perturbation, SplineBiasField | PolynomialBiasField):
        change = perturbation.log_gain(clean, {name: values[places] for name, values in result.parameters.items()})
    else:
        change = adversarial - clean
    return {
        "examples": rows[places.cpu().numpy()],
        "clean": clean.cpu().numpy(),
        "adversarial": adversarial.cpu().numpy(),
        "change": change.cpu().numpy(),
    }


def merge_panels(old: Panels, new: Panels) -> Panels:
    """`old` with the examples of `new` put in their place or added.

    Args:
        old: panels; may be empty.
        new: panels of some examples.

    Returns:
        Panels with rising numbers.
    """
    if not old:
        return new
    kept = ~np.isin(old["examples"], new["examples"])
    joined = {name: np.concatenate([old[name][kept], new[name]]) for name in old}
    order = np.argsort(joined["examples"])
    return {name: values[order] for name, values in joined.items()}
