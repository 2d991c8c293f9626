"""Ctrl-C and SIGTERM between two batches instead of in the middle of one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_between_batches() -> Iterator[Callable[[], None]]:
    """Hold back the first signal until the work asks for it; a second one stops at once.

    Yields:
        A function that raises KeyboardInterrupt if a signal has come.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        print("\nStopping after this batch; a second time stops at once.", file=sys.stderr, flush=True)

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    before: dict[int, Any] = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
