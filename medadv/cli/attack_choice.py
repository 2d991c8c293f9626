"""Attacks on the command line: their names and options."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from medadv.cli.catalogue import GRADIENT, Entry, known, objectives
from medadv.cli.errors import InputError, sentence

if TYPE_CHECKING:
    from medadv.attacks import BudgetedAttack, MinimumNormAttack

TRANSFER = "transfer-"
_CROSS_ENTROPIES = ("CrossEntropy()", "CrossEntropyOrMargin()")  # as defaults of attacks
_WORDS = {"true": True, "false": False, "none": None}
_COMMA = re.compile(r",(?![^(]*\))")  # not inside brackets


@dataclass(frozen=True)
class AttackChoice:
    """An attack with options, as it was asked for.

    Args:
        label: what the user wrote.
        entry: the attack.
        transferred: whether it is made on a surrogate.
        options: field of the attack to its value.
    """

    label: str
    entry: Entry
    transferred: bool
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """Without the options."""
        return TRANSFER * self.transferred + self.entry.name

    @property
    def norm(self) -> str:
        """The norm in which its noise is measured."""
        return str(self.options.get("norm", self.entry.norm))

    def build(
        self, common: dict[str, Any], findings: bool = False, guarded: bool = False
    ) -> BudgetedAttack | MinimumNormAttack:
        """The attack itself; imports torch.

        Args:
            common: options for all attacks that have them; those of its own come first.
            findings: whether each label is there or not on its own; then an attack that raises the cross-entropy by
                default raises the margin, as one wrong finding is enough and the cross-entropy is a sum over all.
            guarded: whether the model that it sees has a detector; then its objective, the margin in place of
                cross-entropy by default, is made one that knows of it.

        Raises:
            InputError: what the attack refuses.
        """
        from medadv.attacks import ATTACKS

        kind: Any = ATTACKS[self.entry.name]
        given = {name: value for name, value in common.items() if name in self.entry.options}
        if self.transferred and "stop_early" in self.entry.options:
            given["stop_early"] = False  # an image that fools the surrogate by more fools others more often
        if (findings or guarded) and self.entry.options.get("objective") in _CROSS_ENTROPIES:
            given["objective"] = "margin"
        given |= {name: value for name, value in self.options.items() if not name.startswith(GRADIENT)}
        if "objective" in given:
            given["objective"] = self._objective(given["objective"])
        try:
            if self._gradient_options:
                given["gradient"] = replace(kind().gradient, **self._gradient_options)
            attack: BudgetedAttack | MinimumNormAttack = kind(**given)
        except (TypeError, ValueError) as error:
            raise InputError(f"--attack {self.label}: {sentence(error)}") from None
        return _knowing_of_the_detector(attack) if guarded else attack

    @property
    def _gradient_options(self) -> dict[str, Any]:
        options = self.options.items()
        return {name.removeprefix(GRADIENT): value for name, value in options if name.startswith(GRADIENT)}

    def _objective(self, name: Any) -> Any:
        from medadv.objectives import OBJECTIVES

        if name not in objectives():
            raise InputError(f"--attack {self.label}: objective must be one of {', '.join(objectives())}, got {name}")
        make: Any = OBJECTIVES[name]
        return make()


def _knowing_of_the_detector(attack: Any) -> Any:
    from medadv.objectives import Undetected

    return replace(attack, objective=Undetected(attack.objective)) if hasattr(attack, "objective") else attack


def parse_attacks(given: Sequence[str]) -> list[AttackChoice]:
    """The attacks that were asked for.

    Args:
        given: "NAME" or "NAME:OPTION=VALUE,..."; "transfer-" before the name: made on the surrogate. A value is a
            number, a fraction, true, false, none, numbers in brackets, or a word.

    Returns:
        One per entry.

    Raises:
        InputError: an attack or an option that is not there, or the same twice.

    >>> parse_attacks(["pgd:norm=l2,steps=40"])[0].options
    {'norm': 'l2', 'steps': 40}
    """
    choices = [_parse(text) for text in given]
    for number, choice in enumerate(choices):
        if choice.label in [before.label for before in choices[:number]]:
            raise InputError(f"--attack {choice.label}: given twice")
    return choices


def _parse(text: str) -> AttackChoice:
    name, colon, rest = text.partition(":")
    transferred = name.startswith(TRANSFER)
    entry = known(name.removeprefix(TRANSFER), text)
    if transferred and entry.budget_field is None:
        raise InputError(f"--attack {text}: the smallest change does not transfer; take an attack with a budget")
    options: dict[str, Any] = {}
    for part in _COMMA.split(rest) if colon else []:
        option, equals, value = (piece.strip() for piece in part.partition("="))
        _check_option(text, entry, option, bool(equals and value))
        if option in options:
            raise InputError(f"--attack {text}: {option} is given twice")
        options[option] = _value(value)
    return AttackChoice(text, entry, transferred, options)


def _check_option(text: str, entry: Entry, option: str, has_value: bool) -> None:
    instead = {"seed": "--seed", entry.budget_field: "--budget"}
    if option in instead:
        raise InputError(f"--attack {text}: give {option} as {instead[option]}")
    if option not in entry.options:
        near = get_close_matches(option, entry.options, n=1)
        hint = f"did you mean {near[0]}" if near else f"it has {', '.join(entry.options)}"
        raise InputError(f"--attack {text}: {entry.name} has no option {option!r}; {hint}")
    if not has_value:
        raise InputError(f"--attack {text}: a value expected, as in {option}={entry.options[option]}")


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    above, slash, below = text.partition("/")
    try:
        if slash:
            return float(above) / float(below)
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, ZeroDivisionError, MemoryError, RecursionError):
        return text
