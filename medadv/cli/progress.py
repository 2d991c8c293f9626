"""How far a long command is: a bar on a terminal, a line every 30 seconds elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from medadv._optional import require

SECONDS_BETWEEN_LINES = 30.0
_LEAST_SHARE = 0.01  # of the work that must be done before a time is guessed


class ProgressDisplay:
    """A display of one number from 0 to 1, with what is being done and the time left.

    Args:
        stream: where it goes; default stderr.
        clock: seconds, for tests.

    >>> import io
    >>> lines = io.StringIO()
    >>> seconds = iter([0.0, 0.0, 40.0])
    >>> with ProgressDisplay(lines, lambda: next(seconds)) as display:
    ...     display.update("training", 0.0)
    ...     display.update("training", 0.25)
    >>> print(lines.getvalue().strip())
    25 %, about 2:00 left: training
    """

    def __init__(self, stream: TextIO | None = None, clock: Any = time.monotonic) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.clock = clock
        self._bar: Any = None
        self._task: Any = None
        self._started = self._line = 0.0
        self._first: float | None = None

    def __enter__(self) -> ProgressDisplay:
        self._started = self._line = self.clock()
        if self.stream.isatty():
            self._bar = _bar(self.stream)
            self._task = self._bar.add_task("", total=1.0, left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, doing: str, share: float) -> None:
        """Tell how far it is.

        Args:
            doing: what is done now.
            share: of all work, 0 to 1; the first value is where this run began.
        """
        now = self.clock()
        self._first = share if self._first is None else self._first
        left = _time(self._seconds_left(now, share))
        if self._bar is not None:
            self._bar.update(self._task, completed=share, description=doing, left=left and f"{left} left")
        elif now - self._line >= SECONDS_BETWEEN_LINES:
            self._line = now
            guess = f", about {left} left" if left else ""
            print(f"{100 * share:.0f} %{guess}: {doing}", file=self.stream, flush=True)

    def _seconds_left(self, now: float, share: float) -> float | None:
        done = share - (self._first or 0.0)
        return (now - self._started) * (1 - share) / done if done >= _LEAST_SHARE else None


def _bar(stream: TextIO) -> Any:
    rich = require("rich.progress", extra="lab")
    console = require("rich.console", extra="lab").Console(file=stream)
    return rich.Progress(
        rich.BarColumn(bar_width=24),
        rich.TaskProgressColumn(),
        rich.TextColumn("{task.fields[left]}"),
        rich.TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
    )


def _time(seconds: float | None) -> str:
    """Minutes and seconds.

    >>> _time(125.2)
    '2:05'
    """
    return "" if seconds is None else f"{round(seconds) // 60}:{round(seconds) % 60:02d}"
