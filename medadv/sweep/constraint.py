"""The budget of an attack, measured on finished images, by other arithmetic than the attack's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medadv._core import definitions
from medadv.attacks import BudgetedAttack, Result
from medadv.perturbations import (
    Additive,
    Affine,
    Chain,
    Flow,
    FrequencyQuantisation,
    IntensityCurve,
    PolynomialBiasField,
    SplineBiasField,
    SplineDeformation,
)

Images = NDArray[np.float32]
Used = NDArray[np.float64]

# Determinants in float32 against float64, and images that are made twice, of a range of 1.
_ROUNDING = 1e-4


def shows_in_images(attack: BudgetedAttack) -> bool:
    """Whether the budget can be measured by comparing clean and changed images; else the parameters are needed.

    Args:
        attack: with its perturbation.

    Returns:
        True for noise and for bias fields.

    >>> from medadv.attacks import PGD, FlowAttack
    >>> shows_in_images(PGD()), shows_in_images(FlowAttack())
    (True, False)
    """
    return isinstance(attack.perturbation, Additive | SplineBiasField | PolynomialBiasField)


def spent(attack: BudgetedAttack, clean: Images, changed: Images, bounds: tuple[float, float]) -> float:
    """The largest budget that any of the images uses, of an attack whose budget shows in them.

    Args:
        attack: what kind of budget.
        clean, changed: [N, C, H, W] float32, N >= 1.
        bounds: (low, high) in image units.

    Returns:
        In the units of the attack's budget. A voxel that is `low` has no gain: infinity where it changed, else 1.

    Raises:
        TypeError: the budget does not show in the images.

    >>> from medadv.attacks import PGD
    >>> clean = np.zeros((1, 1, 2, 2), np.float32)
    >>> spent(PGD(), clean, clean + np.float32(0.25), (0.0, 1.0))
    0.25
    """
    return float(_used_on_images(attack, clean, changed, bounds).max())


def violations(
    attack: BudgetedAttack, clean: Images, changed: Images, bounds: tuple[float, float]
) -> NDArray[np.bool_]:
    """Which images leave the bounds, or the budget of an attack whose budget shows in them.

    Args:
        attack: with its budget.
        clean, changed: [N, C, H, W] float32.
        bounds: (low, high) in image units.

    Returns:
        bool [N]; true also for an image that is not finite.

    Raises:
        TypeError: the budget does not show in the images.
    """
    outside: NDArray[np.bool_] = ~(
        _inside(changed, bounds) & (_used_on_images(attack, clean, changed, bounds) <= attack.budget)
    )
    return outside


def result_violations(
    attack: BudgetedAttack, clean: Tensor, result: Result, bounds: tuple[float, float]
) -> NDArray[np.bool_]:
    """Which images of a result leave the bounds or the budget.

    Where the budget does not show in the images, it is measured on the parameters, and the images must be those that
    the parameters make.

    Args:
        attack: with its budget.
        clean: [N, C, H, W] float32.
        result: of the attack on them.
        bounds: (low, high) in image units.

    Returns:
        bool [N].
    """
    changed = result.images.cpu().numpy()
    if shows_in_images(attack):
        return violations(attack, clean.cpu().numpy(), changed, bounds)
    perturbation = attack.perturbation
    again = perturbation.apply(clean, result.parameters, bounds).detach().cpu().numpy()
    made = np.abs(again.astype(np.float64) - changed).reshape(len(changed), -1).max(axis=1)
    used = _used_by_parameters(perturbation, clean, result, bounds)
    kept = (used <= attack.budget * (1 + 1e-9)) & (made <= _ROUNDING * (bounds[1] - bounds[0]))
    outside: NDArray[np.bool_] = ~(_inside(changed, bounds) & kept)
    return outside


def _inside(changed: Images, bounds: tuple[float, float]) -> NDArray[np.bool_]:
    low, high = (np.float32(bound) for bound in bounds)
    inside: NDArray[np.bool_] = ((changed >= low) & (changed <= high)).reshape(len(changed), -1).all(axis=1)
    return inside


def _used_on_images(attack: BudgetedAttack, clean: Images, changed: Images, bounds: tuple[float, float]) -> Used:
    before = clean.astype(np.float64).reshape(len(clean), -1) - bounds[0]
    after = changed.astype(np.float64).reshape(len(changed), -1) - bounds[0]
    perturbation: Any = attack.perturbation
    if isinstance(perturbation, Additive):
        order = {"linf": np.inf, "l2": 2, "l1": 1}[perturbation.norm]
        length: Used = np.linalg.norm(after - before, ord=order, axis=1)
        return length / (bounds[1] - bounds[0])
    if isinstance(perturbation, SplineBiasField | PolynomialBiasField):
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.maximum(after / before, before / after)
        gain[(before == 0) & (after == 0)] = 1.0
        largest: Used = gain.max(axis=1)
        return largest
    raise TypeError(f"attack must have a budget that shows in images, got {type(perturbation).__name__}.")


def _used_by_parameters(perturbation: Any, clean: Tensor, result: Result, bounds: tuple[float, float]) -> Used:
    if isinstance(perturbation, Chain):
        # Its parts act on images that nobody kept; they are asked themselves.
        used: Used = perturbation.distance(clean, result.parameters, bounds).cpu().numpy() * (1 - 1e-6)
        return used
    parameters = {name: values.cpu().double().numpy() for name, values in result.parameters.items()}
    return _MEASURES[type(perturbation)](perturbation, parameters, tuple(clean.shape[2:]))


def _of_deformation(family: SplineDeformation, parameters: dict[str, Used], size: tuple[int, ...]) -> Used:
    fields = [np.stack([definitions.spline_field(c, size) for c in lattice]) for lattice in parameters["lattice"]]
    used = np.array([_longest(field) for field in fields])
    if family.jacobian is not None:
        determinants = [definitions.jacobian_determinant(field, [1.0] * len(size)).min() for field in fields]
        used[np.array(determinants) < family.jacobian - _ROUNDING] = np.inf
    return used


def _of_flow(family: Flow, parameters: dict[str, Used], size: tuple[int, ...]) -> Used:
    return np.array([_longest(flow) for flow in parameters["flow"]])


def _of_affine(family: Affine, parameters: dict[str, Used], size: tuple[int, ...]) -> Used:
    fractions: Used = np.abs(np.concatenate(list(parameters.values()), axis=1)).max(axis=1)
    return fractions


def _of_curve(family: IntensityCurve, parameters: dict[str, Used], size: tuple[int, ...]) -> Used:
    used: Used = np.exp(np.abs(parameters["log_gamma"]).max(axis=1))
    used[np.abs(parameters["ends"]).max(axis=1) > family.window] = np.inf
    return used


def _of_quantisation(family: FrequencyQuantisation, parameters: dict[str, Used], size: tuple[int, ...]) -> Used:
    used: Used = np.abs(parameters["steps"]).reshape(len(parameters["steps"]), -1).max(axis=1)
    return used


def _longest(field: Used) -> float:
    return float(np.sqrt((field**2).sum(axis=0)).max())


_MEASURES: dict[type, Callable[[Any, dict[str, Used], tuple[int, ...]], Used]] = {
    SplineDeformation: _of_deformation,
    Flow: _of_flow,
    Affine: _of_affine,
    IntensityCurve: _of_curve,
    FrequencyQuantisation: _of_quantisation,
}
