"""How far an attack is, for whoever watches: its loops tell it, with nothing to hand down to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")


class _Watch:
    """Who is told, and which part of 0 to 1 the loop in work stands for."""

    def __init__(self, tell: Callable[[float], None], start: float, width: float) -> None:
        self.tell = tell
        self.start = start
        self.width = width

    def follow(self, items: Sequence[Item]) -> Iterator[Item]:
        start, width = self.start, self.width
        share = width / max(len(items), 1)
        try:
            for number, item in enumerate(items):
                self.start, self.width = start + number * share, share
                self.tell(self.start)
                yield item
        finally:
            self.start, self.width = start, width


_watch: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched(tell: Callable[[float], None], start: float = 0.0, width: float = 1.0) -> Iterator[None]:
    """Be told how far an attack is that runs meanwhile.

    Args:
        tell: called before each item of `told` with the share that is done. It rises within a loop and the loops inside
            it, and begins anew with the next loop of an attack that has several.
        start: share at its beginning.
        width: what is added to that up to its end.

    >>> with watched(print):
    ...     for step in told(range(2)):
    ...         for restart in told(range(2)):
    ...             pass
    0.0
    0.0
    0.25
    0.5
    0.5
    0.75
    """
    token = _watch.set(_Watch(tell, start, width))
    try:
        yield
    finally:
        _watch.reset(token)


def told(items: Sequence[Item]) -> Iterable[Item]:
    """The items of a loop, such as the steps of a search; whoever watches is told before each.

    Args:
        items: taken for equally long. A loop inside this one stands for its share of it.

    Returns:
        The same items.
    """
    watch = _watch.get()
    return items if watch is None else watch.follow(items)
