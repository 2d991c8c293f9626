"""Contenders that take turns round by round, so that a machine whose speed drifts meets all of them alike."""

from __future__ import annotations

from collections.abc import Callable

OURS = "medadv"
NEAR = 1.5  # times that of the fastest library
BRIEF = 2.0  # seconds; of a call as short as this the first says little, and all are soon done


class Turns:
    """Rounds in which each contender has a turn.

    Ours and the libraries near the fastest one have a turn in every round, the others in the first, which tells who is
    near. A brief turn counts as near.

    Args:
        contenders: what a turn of each is, by name, ours among them; it returns a dict with "seconds".

    Attributes:
        found: what the turns of each returned, in the order of the rounds.
    """

    def __init__(self, contenders: dict[str, Callable[[], dict]]) -> None:
        self.contenders = contenders
        self.found: dict[str, list[dict]] = {name: [] for name in contenders}

    def play(self) -> None:
        """One round."""
        number = len(self.found[OURS])
        for name in order(self.near() if number else list(self.contenders), number):
            self.found[name].append(self.contenders[name]())

    def seconds(self) -> float:
        """How long a round takes after the first."""
        return sum(self.found[name][0]["seconds"] for name in self.near())

    def near(self) -> list[str]:
        """Ours, and the libraries near the fastest one."""
        first = {name: turns[0]["seconds"] for name, turns in self.found.items()}
        fastest = min((seconds for name, seconds in first.items() if name != OURS), default=0.0)
        return [name for name, seconds in first.items() if name == OURS or seconds <= max(NEAR * fastest, BRIEF)]


def order(names: list[str], number: int) -> list[str]:
    """Of a round: forth, then back, then the same from the next name on, so nobody always follows the same one."""
    start = number // 2 % len(names)
    turned = names[start:] + names[:start]
    return turned[::-1] if number % 2 else turned
