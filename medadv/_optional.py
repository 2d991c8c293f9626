"""Import of libraries that only some parts of medadv need."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import a library that belongs to an optional part of medadv.

    Args:
        module: name as in an import statement, such as "PIL.Image".
        extra: the optional dependency group of medadv that installs it, such as "lab".

    Returns:
        The module.

    Raises:
        ImportError: the library is absent; the message is one line that says how to install it. A library
            that is present but broken keeps its own error.

    >>> require("json", extra="lab").dumps([1])
    '[1]'
    >>> require("no_such_library.part", extra="medical")
    Traceback (most recent call last):
    ImportError: no_such_library is not installed: pip install "medadv[medical]"
    """
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ImportError(f'{library} is not installed: pip install "medadv[{extra}]"', name=library) from None
