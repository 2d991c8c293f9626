"""Budgets on the command line: numbers and fractions, for each attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medadv.cli.errors import InputError

_RADII = (1 / 255, 2 / 255, 4 / 255, 8 / 255)

# The keys are the names of medadv.attacks.ATTACKS, which cannot be asked without importing torch.
DEFAULT_BUDGETS: dict[str, tuple[float, ...]] = {
    "pgd": _RADII,
    "bias-field": (1.1, 1.2, 1.3, 1.5),
    "smooth-bias-field": (1.1, 1.2, 1.3, 1.5),
    "fgsm": _RADII,
    "bim": _RADII,
    "mi-fgsm": _RADII,
    "ni-fgsm": _RADII,
    "si-ni-fgsm": _RADII,
    "di-fgsm": _RADII,
    "ti-fgsm": _RADII,
    "vmi-fgsm": _RADII,
    "apgd": _RADII,
    "stabilised": _RADII,
    "deformation": (0.5, 1.0, 2.0, 4.0),
    "flow": (0.25, 0.5, 1.0, 2.0),
    "affine": (0.25, 0.5, 0.75, 1.0),
    "intensity": (1.1, 1.2, 1.5, 2.0),
    "frequency": (5.0, 10.0, 20.0, 40.0),
    "chain": (0.25, 0.5, 0.75, 1.0),
}


@dataclass(frozen=True)
class _Range:
    words: str
    allows: Callable[[float], bool]


_ANY = _Range("0 or above", lambda value: value >= 0)
_RANGES = {
    "bias-field": _Range("above 1", lambda value: value > 1),
    "smooth-bias-field": _Range("above 1", lambda value: value > 1),
    "affine": _Range("0 to 1", lambda value: 0 <= value <= 1),
    "intensity": _Range("1 or above", lambda value: value >= 1),
    "chain": _Range("above 0 and at most 1", lambda value: 0 < value <= 1),
}


def parse_budgets(attacks: Sequence[str], given: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The budgets of each attack, rising.

    Args:
        attacks: names of the attacks.
        given: "V,V,..." (with one attack only) or "ATTACK=V,V,..."; V a number or a fraction such as 4/255.

    Returns:
        Attack to budgets; default budgets where none are given.

    Raises:
        InputError: a budget that is no number, not in the range of the attack, or given twice; an attack that is not
            known, not asked for, or has budgets twice.

    >>> parse_budgets(["pgd"], ["1/4,1/2"])
    {'pgd': (0.25, 0.5)}
    """
    _check_attacks(attacks)
    found: dict[str, tuple[float, ...]] = {}
    for text in given:
        name, _, values = text.rpartition("=")
        if not name:
            if len(attacks) > 1:
                raise InputError(f"--budget {text}: say which attack it is for, as in --budget {attacks[0]}={text}")
            name = attacks[0]
        if name not in attacks:
            raise InputError(f"--budget {text}: there is no --attack {name}")
        if name in found:
            raise InputError(f"--budget {text}: {name} has its budgets already; put them in one list")
        found[name] = _parse_list(name, values, text)
    return {name: found.get(name, DEFAULT_BUDGETS[name]) for name in attacks}


def _check_attacks(attacks: Sequence[str]) -> None:
    for number, name in enumerate(attacks):
        if name not in DEFAULT_BUDGETS:
            raise InputError(f"--attack {name}: unknown attack, choose from {', '.join(DEFAULT_BUDGETS)}")
        if name in attacks[:number]:
            raise InputError(f"--attack {name}: given twice")


def _parse_list(attack: str, values: str, text: str) -> tuple[float, ...]:
    numbers = sorted(_parse(attack, value.strip(), text) for value in values.split(","))
    if len(set(numbers)) < len(numbers):
        raise InputError(f"--budget {text}: a budget is there twice")
    return tuple(numbers)


def _parse(attack: str, value: str, text: str) -> float:
    above, slash, below = value.partition("/")
    try:
        number = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"--budget {text}: {value!r} is not a number or a fraction such as 4/255") from None
    allowed = _RANGES.get(attack, _ANY)
    if not (math.isfinite(number) and allowed.allows(number)):
        raise InputError(f"--budget {text}: a budget of {attack} must be {allowed.words}, got {value}")
    return number
