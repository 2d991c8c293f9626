"""Budgets on the command line: numbers and fractions, for each attack."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from medadv.cli.attack_choice import AttackChoice
from medadv.cli.catalogue import Entry
from medadv.cli.errors import InputError

Bounds = tuple[float, float]

# Of changes by their norm or measure, and of other budgets by the field of the attack.
_BY_MEASURE: dict[str, tuple[float, ...]] = {
    "linf": (1 / 255, 2 / 255, 4 / 255, 8 / 255),
    "l2": (0.25, 0.5, 1.0, 2.0),
    "l1": (4.0, 8.0, 16.0, 32.0),
    "l0": (1.0, 5.0, 10.0, 50.0),
    "displacement": (0.5, 1.0, 2.0, 4.0),
}
_BY_FIELD: dict[str, tuple[float, ...]] = {
    "gain": (1.1, 1.2, 1.3, 1.5),
    "displacement": (0.5, 1.0, 2.0, 4.0),
    "strength": (0.25, 0.5, 0.75, 1.0),
    "gamma": (1.1, 1.2, 1.5, 2.0),
    "step": (5.0, 10.0, 20.0, 40.0),
}
# Voxels that move on their own break a model at smaller displacements than smooth motion.
_OF_ONE_ATTACK = {"flow": (0.25, 0.5, 1.0, 2.0)}

_RADII = {"linf": "L-infinity", "l2": "L2", "l1": "L1"}
_UNITS = {
    "l0": "number of changed entries",
    "gain": "largest factor on the intensity",
    "displacement": "largest displacement in voxels",
    "strength": "share of every limit",
    "gamma": "largest gamma",
    "step": "largest step, 1/255 of the intensity range",
}
_WHOLE_RANGE = 1.0  # more than this no voxel can change: 4 is meant as 4/255


def unit_of(entry: Entry) -> str:
    """In what the budget of an attack, or the change that it makes small, is counted.

    >>> from medadv.cli.catalogue import catalogue
    >>> unit_of(catalogue()["pgd"]), unit_of(catalogue()["ddn"])
    ('L-infinity norm, fraction of the intensity range', 'L2 norm, fraction of the intensity range')
    """
    word = entry.norm if entry.budget_field in ("eps", None) else entry.budget_field
    return f"{_RADII[word]} norm, fraction of the intensity range" if word in _RADII else _UNITS.get(word, word)


def default_budgets(name: str, budget_field: str | None, norm: str) -> tuple[float, ...]:
    """The budgets of an attack for which none are given; empty where there are none to suit it.

    Args:
        name: of the attack.
        budget_field: the field that is its budget; None where it looks for the smallest change.
        norm: in what its change is measured.

    >>> default_budgets("pgd", "eps", "l2")
    (0.25, 0.5, 1.0, 2.0)
    """
    if name in _OF_ONE_ATTACK:
        return _OF_ONE_ATTACK[name]
    return _BY_MEASURE.get(norm, ()) if budget_field in ("eps", None) else _BY_FIELD.get(budget_field, ())


def parse_budgets(
    choices: Sequence[AttackChoice], given: Sequence[str], bounds: Bounds | None = None
) -> dict[str, tuple[float, ...]]:
    """The budgets of each attack, rising.

    Args:
        choices: the attacks.
        given: "V,V,..." (with one attack only) or "ATTACK=V,V,..."; V a number, a fraction such as 4/255, or for noise
            a number of Hounsfield units such as 10HU.
        bounds: of the images; None where they were not given.

    Returns:
        Label of the attack to budgets; default budgets where none are given. Whether the attack allows them is for the
        attack to say.

    Raises:
        InputError: a budget that is no number, given twice, or more than the whole range of intensities in the
            L-infinity norm; an attack that is not asked for, or has budgets twice; no budgets where there are no
            default ones; then also what the attack refuses.

    >>> from medadv.cli.attack_choice import parse_attacks
    >>> parse_budgets(parse_attacks(["pgd"]), ["1/4,1/2"])
    {'pgd': (0.25, 0.5)}
    """
    found: dict[str, tuple[float, ...]] = {}
    for text in given:
        name, _, values = text.rpartition("=")
        choice = _named(choices, name, text)
        if choice.label in found:
            raise InputError(f"--budget {text}: {choice.label} has its budgets already; put them in one list")
        found[choice.label] = _parse_list(choice, values, text, bounds)
    return {choice.label: found.get(choice.label) or _default(choice) for choice in choices}


def _default(choice: AttackChoice) -> tuple[float, ...]:
    budgets = default_budgets(choice.entry.name, choice.entry.budget_field, choice.norm)
    if not budgets:
        choice.build({})  # which names its norms, where it has no such norm
        raise InputError(f"--attack {choice.label}: has no default budgets; give some as --budget {choice.label}=...")
    return budgets


def _named(choices: Sequence[AttackChoice], name: str, text: str) -> AttackChoice:
    if not name and len(choices) > 1:
        raise InputError(f"--budget {text}: say which attack it is for, as in --budget {choices[0].label}={text}")
    fitting = [choice for choice in choices if not name or name == choice.label]
    fitting = fitting or [choice for choice in choices if name == choice.name]
    if not fitting:
        raise InputError(f"--budget {text}: there is no --attack {name}")
    if len(fitting) > 1:
        raise InputError(f"--budget {text}: say which {name} it is for, as in --budget {fitting[0].label}=...")
    return fitting[0]


def _parse_list(choice: AttackChoice, values: str, text: str, bounds: Bounds | None) -> tuple[float, ...]:
    numbers = sorted(_parse(choice, value.strip(), text, bounds) for value in values.split(","))
    if len(set(numbers)) < len(numbers):
        raise InputError(f"--budget {text}: a budget is there twice")
    return tuple(numbers)


def _parse(choice: AttackChoice, value: str, text: str, bounds: Bounds | None) -> float:
    digits = value.removesuffix("HU")
    above, slash, below = digits.partition("/")
    try:
        number = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"--budget {text}: {value!r} is not a number or a fraction such as 4/255") from None
    if digits == value:
        if choice.entry.budget_field in ("eps", None) and choice.norm == "linf" and _WHOLE_RANGE < number < inf:
            raise InputError(
                f"--budget {text}: a budget of {choice.name} is a fraction of the intensity range, at most 1, got "
                f"{value}; grey levels of 8 bits are written as {value}/255"
            )
        return number
    if choice.entry.budget_field not in ("eps", None) or choice.norm not in _RADII:
        raise InputError(f"--budget {text}: a budget of {choice.name} is not in HU, but: {unit_of(choice.entry)}")
    if bounds is None:
        raise InputError(f"--budget {text}: HU need the range of the images, as in --bounds -1024 3071")
    return number / (bounds[1] - bounds[0])
