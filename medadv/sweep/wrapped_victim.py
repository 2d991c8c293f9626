"""A victim around another one, for trust checks that change its answer or watch it."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

from medadv.models import Victim

Self = TypeVar("Self", bound="WrappedVictim")


class WrappedVictim(Victim):
    """All that another victim is, but for its answer: also its detector, and its random numbers.

    Args:
        victim: the other one.
    """

    def __init__(self, victim: Victim) -> None:
        self.__dict__.update(victim.__dict__)  # bounds, task, module
        self._victim = victim

    @property
    def passes(self) -> int:
        return self._victim.passes

    @property
    def randomised(self) -> bool:
        return self._victim.randomised

    @property
    def guarded(self) -> bool:
        return self._victim.guarded

    def fresh(self: Self, *key: int) -> Self:
        other = copy(self)
        other._victim = self._victim.fresh(*key)
        return other
