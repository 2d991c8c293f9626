"""The display of progress, elsewhere than on a terminal and on one."""

import io

import pytest

from medadv.cli.progress import ProgressDisplay


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_line_every_thirty_seconds_with_the_time_left():
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream, clock) as display:
        for second in range(101):
            clock.now = 100.0 + second
            display.update("working", 0.5 + second / 400)
    lines = stream.getvalue().splitlines()
    # It began at one half, so 30 s for 7.5 % make 170 s for the other 42.5 %.
    assert lines == [
        "57 %, about 2:50 left: working",
        "65 %, about 2:20 left: working",
        "72 %, about 1:50 left: working",
    ]


def test_no_time_is_guessed_from_nothing():
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream, clock) as display:
        display.update("loading", 0.0)
        clock.now += 31
        display.update("loading", 0.001)
    assert stream.getvalue() == "0 %: loading\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream, clock = Terminal(), Clock()
    with ProgressDisplay(stream, clock) as display:
        display.update("reading", 0.0)
        clock.now += 60
        display.update("reading [bold]names[/bold]", 0.5)
    shown = stream.getvalue()
    assert "50%" in shown
    assert "1:00 left" in shown
    assert "reading [bold]names[/bold]" in shown


def test_an_error_ends_the_bar():
    display = ProgressDisplay(Terminal())
    with pytest.raises(KeyboardInterrupt), display:
        raise KeyboardInterrupt
    assert display._bar.finished or not display._bar.live.is_started
