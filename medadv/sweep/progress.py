"""How far an evaluation is, for whoever waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_SECONDS_OF_SILENCE = 0.5


@dataclass(frozen=True)
class Progress:
    """How far an evaluation is.

    Args:
        doing: what is done now, for people.
        done: units done, with the share of the one in work.
        total: units in all.
    """

    doing: str
    done: float
    total: int


class Teller:
    """Tells how far an evaluation is; after a while of silence too, so that an attack that takes long can be stopped.

    Args:
        tell: is told; what it raises stops the evaluation.

    >>> teller = Teller(print)
    >>> teller.tell(Progress("fgsm 0.01", 0.0, 2))
    Progress(doing='fgsm 0.01', done=0.0, total=2)
    """

    def __init__(self, tell: Callable[[Progress], None]) -> None:
        self._tell = tell
        self._now = Progress("", 0.0, 0)
        self._told = time.monotonic()

    def tell(self, now: Progress) -> None:
        """Tell it at once."""
        self._now, self._told = now, time.monotonic()
        self._tell(now)

    def note(self, now: Progress) -> None:
        """Tell it after a while, if it is further; an attack of several searches begins anew with each."""
        if now.done > self._now.done:
            self._now = now

    def still_there(self) -> None:
        """Tell what was told or noted last, if that is a while ago."""
        if time.monotonic() - self._told > _SECONDS_OF_SILENCE:
            self.tell(self._now)
