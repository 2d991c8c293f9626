"""The smallest piece of a sweep, and its name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces, ASCII only.

    Args:
        value: None, bool, int, finite float, str, or lists and string-keyed dicts of these.

    Returns:
        The text; equal values of equal types give equal texts, and no others do.

    Raises:
        TypeError: something else is inside.
        ValueError: a float is not finite.

    >>> canonical_json({"eps": 0.5, "attack": "pgd"})
    '{"attack":"pgd","eps":0.5}'
    """
    check_plain(value, "canonical_json: value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, eq=False)
class Unit:
    """One model, one attack, one budget, one seed, one shard of the data; or one set of checks.

    Args:
        kind: what its rows are: "attack" or "check".
        fields: everything that its result depends on, as plain JSON values.

    Raises:
        TypeError: ``kind`` is no text, ``fields`` no mapping, or a value no plain JSON value.
        ValueError: ``kind`` is empty, or a float is not finite.

    >>> unit = Unit("attack", {"attack": "pgd", "budget": 0.5})
    >>> unit.id == Unit("attack", {"budget": 0.5, "attack": "pgd"}).id
    True
    """

    kind: str
    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str):
            raise TypeError(f"Unit: kind must be a text, got {type(self.kind).__name__}")
        if not self.kind:
            raise ValueError("Unit: kind must not be empty")
        if not isinstance(self.fields, Mapping):
            raise TypeError(f"Unit: fields must be a mapping, got {type(self.fields).__name__}")
        fields = dict(self.fields)
        check_plain(fields, "Unit: fields")
        # A copy of our own: a later change of the caller's dict must not change this unit.
        object.__setattr__(self, "fields", json.loads(json.dumps(fields)))

    @property
    def id(self) -> str:
        """SHA-256 of kind and fields, 64 hexadecimal digits."""
        text = canonical_json({"kind": self.kind, "fields": self.fields})
        return hashlib.sha256(text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unit) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


def check_plain(value: Any, name: str) -> None:
    """Refuse what JSON would not give back as it was.

    Args:
        value: None, bool, int, finite float, str, or lists and string-keyed dicts of these.
        name: how to call it in the sentence of the error.

    Raises:
        TypeError: something else is inside.
        ValueError: a float is not finite.

    >>> check_plain({"eps": (1, 2)}, "plan")
    Traceback (most recent call last):
        ...
    TypeError: plan['eps'] must be None, bool, int, float, str, list or dict, got tuple
    """
    # Subclasses of int and float (IntEnum, np.float64) print differently in places, so only the plain types
    # are let in.
    if value is None or isinstance(value, str) or type(value) in (bool, int):
        return
    if type(value) is float:
        if not isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")
        return
    if type(value) is list:
        for index, item in enumerate(value):
            check_plain(item, f"{name}[{index}]")
        return
    if type(value) is dict:
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of {name} must be a text, got {type(key).__name__}")
            check_plain(item, f"{name}[{key!r}]")
        return
    raise TypeError(f"{name} must be None, bool, int, float, str, list or dict, got {type(value).__name__}")
