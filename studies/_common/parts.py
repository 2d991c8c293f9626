"""Parts of a study that are computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medadv.sweep.sealed_json import seal, unseal
from medadv.sweep.unit import Unit

Json = dict[str, Any]


class Parts:
    """A folder with one JSON file per finished part, named by everything that decides its content.

    A part that was damaged, or whose inputs changed, is computed again.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.computed = 0
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, unit: Unit) -> Path:
        """Where a part lies once it is finished."""
        return self.folder / f"{unit.id}.json"

    def get(self, unit: Unit, compute: Callable[[], Json]) -> Json:
        """The content of a part.

        Args:
            unit: all that decides the content.
            compute: gives it, as plain JSON values.

        Returns:
            The content, from the folder where it is there.
        """
        path = self.path(unit)
        kept = _read(path)
        if kept is not None:
            return kept
        content = compute()
        self.computed += 1
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_bytes(seal({"unit": dict(unit.fields), "content": content}))
        unfinished.replace(path)
        return content


def _read(path: Path) -> Json | None:
    try:
        content: Json = unseal(path.read_bytes())["content"]
    except (FileNotFoundError, ValueError):
        return None
    return content
