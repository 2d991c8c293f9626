"""The budget of an attack, measured on finished images, by other arithmetic than the attack's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv.attacks import Attack
from medadv.perturbations import Additive, SplineBiasField

Images = NDArray[np.float32]


def spent(attack: Attack, clean: Images, changed: Images, bounds: tuple[float, float]) -> float:
    """The largest budget that any of the images uses.

    Args:
        attack: what kind of budget.
        clean, changed: [N, C, H, W] float32, N >= 1.
        bounds: (low, high) in image units.

    Returns:
        In the units of the attack's budget. A voxel that is `low` has no gain: infinity where it changed, else 1.

    >>> from medadv.attacks import PGD
    >>> clean = np.zeros((1, 1, 2, 2), np.float32)
    >>> spent(PGD(), clean, clean + np.float32(0.25), (0.0, 1.0))
    0.25
    """
    return float(_used(attack, clean, changed, bounds).max())


def violations(attack: Attack, clean: Images, changed: Images, bounds: tuple[float, float]) -> NDArray[np.bool_]:
    """Which images leave the budget or the bounds.

    Args:
        attack: with its budget.
        clean, changed: [N, C, H, W] float32.
        bounds: (low, high) in image units.

    Returns:
        bool [N]; true also for an image that is not finite.
    """
    low, high = (np.float32(bound) for bound in bounds)
    inside = ((changed >= low) & (changed <= high)).reshape(len(changed), -1).all(axis=1)
    outside: NDArray[np.bool_] = ~(inside & (_used(attack, clean, changed, bounds) <= attack.budget))
    return outside


def _used(attack: Attack, clean: Images, changed: Images, bounds: tuple[float, float]) -> NDArray[np.float64]:
    before = clean.astype(np.float64).reshape(len(clean), -1) - bounds[0]
    after = changed.astype(np.float64).reshape(len(changed), -1) - bounds[0]
    perturbation: Any = attack.perturbation
    if isinstance(perturbation, Additive):
        order = {"linf": np.inf, "l2": 2, "l1": 1}[perturbation.norm]
        length: NDArray[np.float64] = np.linalg.norm(after - before, ord=order, axis=1)
        return length / (bounds[1] - bounds[0])
    if isinstance(perturbation, SplineBiasField):
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.maximum(after / before, before / after)
        gain[(before == 0) & (after == 0)] = 1.0
        largest: NDArray[np.float64] = gain.max(axis=1)
        return largest
    raise TypeError(f"attack must change images by noise or a bias field, got {type(perturbation).__name__}.")
