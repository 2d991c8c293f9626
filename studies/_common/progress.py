"""How far a study is."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str, float], None]

_TRAINING_SHARE = 1 / 3


class SetProgress:
    """Shares of all work while one image set is at hand: sets count the same, and training is a third of each.

    Args:
        tell: takes what is done, and the share of all work so far.
        number: of the set, from 0.
        sets: how many there are.
    """

    def __init__(self, tell: Tell, number: int, sets: int) -> None:
        self._tell, self._number, self._sets = tell, number, sets

    def training(self, doing: str) -> None:
        """Networks of the set are trained."""
        self._tell(doing, self._number / self._sets)

    def attacking(self, doing: str, share: float) -> None:
        """This share of the attacks on the set is done."""
        self._tell(doing, (self._number + _TRAINING_SHARE + (1 - _TRAINING_SHARE) * share) / self._sets)
