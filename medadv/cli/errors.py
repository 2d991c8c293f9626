"""How a command ends when it cannot do what was asked: one sentence, one exit code."""

from __future__ import annotations

from typing import Any

from medadv._optional import require

ClickException: Any = require("click", extra="lab").ClickException


class InputError(ClickException):  # type: ignore[misc]
    """The command, or what it was given, cannot be used."""

    exit_code = 2


class UntrustedError(ClickException):  # type: ignore[misc]
    """A file was refused because reading it could run code."""

    exit_code = 3


class DamagedError(ClickException):  # type: ignore[misc]
    """A store holds something other than what was written."""

    exit_code = 4


class StoppedError(ClickException):  # type: ignore[misc]
    """Stopped by the user; nothing that was done is lost."""

    exit_code = 75


def sentence(error: BaseException) -> str:
    """The first line of an error's message, or its kind where there is none.

    >>> sentence(KeyError())
    'KeyError'
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
