"""`--size H W` and `--size D H W`: an option with two or three numbers, which click does not have."""

from __future__ import annotations

from typing import Any

from medadv._optional import require

click: Any = require("click", extra="lab")
Command: Any = click.Command
ParamType: Any = click.ParamType

_OPTION = "--size"
_MOST = 3


class CommandWithSizes(Command):  # type: ignore[misc]
    """A command that takes all numbers behind --size as its value."""

    def parse_args(self, context: Any, args: list[str]) -> list[str]:
        """Join the numbers behind --size, then parse as usual."""
        remaining: list[str] = super().parse_args(context, _joined(list(args)))
        return remaining


class Sizes(ParamType):  # type: ignore[misc]
    """Two or three whole numbers from 1, as `CommandWithSizes` joins them."""

    name = "size"

    def convert(self, value: Any, parameter: Any, context: Any) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(" ")
        if not (2 <= len(parts) <= _MOST and all(part.isdecimal() and int(part) > 0 for part in parts)):
            self.fail(f"two or three whole numbers from 1 expected, H W or D H W, got {value}", parameter, context)
        return tuple(map(int, parts))


def _joined(args: list[str]) -> list[str]:
    """The arguments with all numbers behind --size in one.

    >>> _joined(["--size", "8", "16", "--channels", "1"])
    ['--size', '8 16', '--channels', '1']
    """
    if _OPTION not in args:
        return args
    start = args.index(_OPTION) + 1
    end = start
    while end < len(args) and end - start < _MOST and args[end].isdecimal():
        end += 1
    return [*args[:start], " ".join(args[start:end]), *args[end:]] if end > start else args
