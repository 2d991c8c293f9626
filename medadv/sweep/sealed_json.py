"""JSON files that carry the SHA-256 of their own content."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def seal(content: dict[str, Any]) -> bytes:
    """The bytes of a JSON file whose last key, "sha256", is the hash of all the others.

    Args:
        content: plain JSON values; no key "sha256".

    Returns:
        ASCII text, indented for people, ending with a new line.

    Raises:
        ValueError: the key "sha256" is taken, or a float is not finite.

    >>> unseal(seal({"rows": 3}))
    {'rows': 3}
    """
    if "sha256" in content:
        raise ValueError('seal: content must not have a key "sha256"')
    digest = hashlib.sha256(_text(content).encode()).hexdigest()
    return _text({**content, "sha256": digest}).encode()


def unseal(raw: bytes) -> dict[str, Any]:
    """The content of a sealed file.

    Args:
        raw: all bytes of the file.

    Returns:
        What was given to `seal`.

    Raises:
        ValueError: not one of the bytes that `seal` writes, be it only the case of a letter.
    """
    try:
        content = json.loads(raw)
        content.pop("sha256")
        intact = seal(content) == raw
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise ValueError("the content does not match its SHA-256")
    return dict(content)


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
